// SPDX-License-Identifier: Apache-2.0
// The core's side of the last-good snapshot, and what is known of each type.
#include <utility>

#include "base/log.h"
#include "xds/core.h"

namespace hawser::xds {

bool Core::restore(std::vector<snapshot::records::Type> types) {
  if (stopping_) return false;
  std::vector<Hub::Restored> restored;
  for (auto& type : types) {
    Hub::Restored& out = restored.emplace_back(Hub::Restored{type.header.type_url, type.header.wildcard, {}});
    Counts& counts = counts_[type.header.type_url];
    counts.system_version = type.header.system_version;
    counts.accepted_at = type.header.accepted_at;
    out.resources.reserve(type.resources.size());
    for (auto& resource : type.resources)
      out.resources.push_back({std::move(resource.name), std::move(resource.version), std::move(resource.body), false});
  }
  if (!hub_.restore(std::move(restored), strand_.now())) return false;
  log::info("the last good configuration takes the control plane's place until that answers");
  pump();
  publish();
  return true;
}

Relay::Accepted Core::accepted(const std::map<std::string, std::uint64_t>& known) {
  told_accepted_ = false;
  Relay::Accepted out;
  out.settled = hub_.settled();
  out.serves_snapshot = hub_.serves_snapshot();
  out.revisions = hub_.accepted_revisions();
  for (const auto& [type, revision] : out.revisions) {
    if (const auto before = known.find(type); before != known.end() && before->second == revision) continue;
    auto all = hub_.accepted(type);
    const Counts& counts = counts_[type];
    auto& changed = out.changed.emplace_back();
    changed.header = {type, counts.system_version, {}, counts.accepted_at.value_or(strand_.wall()), all.wildcard};
    changed.items.reserve(all.resources.size());
    for (auto& [name, resource] : all.resources)
      changed.items.push_back({std::move(name), resource->version, resource->body, resource});
  }
  return out;
}

Relay::TypeStatus Core::type_status(const std::string& type, const Counts& counts) const {
  const auto size = hub_.cache().size(type);
  return {type,
          size.resources,
          size.bytes,
          counts.responses,
          counts.rejected,
          counts.accepted,
          counts.system_version,
          counts.responded_at,
          counts.accepted_at,
          counts.rejected_at,
          hub_.cache().restored(type)};
}

}  // namespace hawser::xds
