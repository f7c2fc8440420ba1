// SPDX-License-Identifier: Apache-2.0
// The hub's side of the last-good snapshot: what one consists of, and a start from it.
#include <algorithm>
#include <utility>

#include "xds/hub.h"

namespace hawser::xds {

bool Hub::restore(std::vector<Restored> types, Loop::Monotonic now) {
  if (plane_answered_ || serves_snapshot_) return false;
  serves_snapshot_ = true;
  for (auto& restored : types) {
    if (!forwardable(restored.type)) continue;
    for (auto& bytes : restored.resources) {
      auto [resource, place] = cache_.put(restored.type, bytes);
      cache_.accept(restored.type, bytes.name, std::move(resource), place);
      restored_[restored.type].push_back(std::move(bytes.name));
    }
    cache_.set_restored(restored.type, restored.wildcard);
  }
  for (auto& [id, peer] : downstreams_) {
    for (const auto& [type, interest] : peer.downstream.interests()) {
      answer_absent(peer, type);
      peer.downstream.on_restored(type, cache_);
    }
  }
  linger_until_ = now + kLinger;
  return true;
}

void Hub::answer_absent(Peer& peer, const std::string& type) {
  for (const auto& name : peer.downstream.waiting(type, cache_)) {
    cache_.remove(type, name, true);
    peer.downstream.mark(type, name);
  }
}

void Hub::drop_unwanted_restored() {
  for (const auto& [type, names] : std::exchange(restored_, {})) {
    if (subscriptions_.wants_all(type)) continue;
    for (const auto& name : names) {
      if (!subscriptions_.wants_name(type, name)) cache_.forget(type, name);
    }
  }
}

// A proxy applies the valid part of what it rejects, so it may go over to other names while what was accepted before
// still refers to the old ones. Those are kept until nothing is rejected any more.
void Hub::note_rejection(const std::string& type, bool outstanding) {
  if (outstanding) {
    rejected_.insert(type);
    return;
  }
  if (rejected_.erase(type) == 0 || !rejected_.empty()) return;
  for (const auto& held : cache_.types()) {
    if (subscriptions_.wants_all(held)) continue;
    for (const auto& [name, resource] : cache_.accepted(held)) {
      if (!subscriptions_.wants_name(held, name)) cache_.forget(held, name);
    }
  }
}

bool Hub::settled() const {
  const auto id = serving();
  return id && downstreams_.at(*id).downstream.settled(cache_);
}

std::map<std::string, std::uint64_t> Hub::accepted_revisions() const {
  std::map<std::string, std::uint64_t> out;
  for (const auto& type : cache_.types()) {
    const auto revision = cache_.accepted_revision(type);
    if (revision != 0 && subscriptions_.wants_any(type)) out.emplace(type, revision);
  }
  return out;
}

// Of names only what the serving one has asked for counts: others may ask for what doesn't exist.
Outlook Hub::outlook() const {
  Outlook out;
  std::map<std::string, Downstream::Interest, TypeOrder> wanted;
  if (const auto id = serving()) {
    const Peer& peer = downstreams_.at(*id);
    wanted = peer.downstream.interests();
    out.rejected = peer.refusals.of_what_it_has();
    out.settled = peer.downstream.settled(cache_);
  }
  for (const auto type : {kClusterType, kListenerType}) wanted[std::string(type)].all = true;
  for (auto& [type, interest] : wanted) {
    if (interest.all && !cache_.synced(type)) {
      out.missing.push_back({type, {}});
      continue;
    }
    if (serves_snapshot_) continue;  // what it lacks doesn't exist for one that starts
    auto& names = interest.names;
    std::erase_if(names, [&, &url = type](const auto& name) {
      return interest.all || cache_.find(url, name) != nullptr || cache_.absent(url, name);
    });
    if (names.empty()) continue;
    std::sort(names.begin(), names.end());
    out.missing.push_back({type, std::move(names)});
  }
  return out;
}

Hub::AcceptedType Hub::accepted(const std::string& type) const {
  AcceptedType out{subscriptions_.wants_all(type), cache_.accepted(type)};
  if (out.wildcard || !rejected_.empty()) return out;
  std::erase_if(out.resources, [&](const auto& item) { return !subscriptions_.wants_name(type, item.first); });
  return out;
}

}  // namespace hawser::xds
