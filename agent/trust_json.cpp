// SPDX-License-Identifier: Apache-2.0
#include "trust_json.h"

#include <nlohmann/json.hpp>

#include "certs/x509.h"
#include "status/time_text.h"

namespace hawser {
namespace {

using nlohmann::json;

json root_json(const certs::TrustBundle& bundle, const certs::TrustedRoot& root, Loop::Duration shift) {
  json out = {{"subject", root.subject},
              {"sha256", root.sha256},
              {"not_before", status::utc_text(root.not_before)},
              {"not_after", status::utc_text(root.not_after)},
              {"sources", root.sources},
              {"state", bundle.excluded(root.sha256) ? "excluded"
                        : root.retired_until         ? "retired"
                                                     : "trusted"}};
  if (root.retired_until) out["retired_until"] = status::utc_text(*root.retired_until + shift);
  if (const auto facts = certs::describe_bundle(root.pem)) {
    out["issuer"] = facts->front().issuer;
    out["serial"] = facts->front().serial;
    out["key"] = facts->front().key;
  }
  return out;
}

json crl_json(const certs::CrlVerdict& crl, const std::string& path) {
  json lists = json::array();
  for (const auto& list : crl.lists) {
    json item = {
        {"issuer", list.issuer}, {"this_update", status::utc_text(list.this_update)}, {"revoked", list.revoked}};
    if (list.next_update) item["next_update"] = status::utc_text(*list.next_update);
    lists.push_back(std::move(item));
  }
  json out = {{"path", path}, {"in_force", !crl.pem.empty() && !crl.trouble}, {"lists", std::move(lists)}};
  if (crl.trouble) out["trouble"] = {{"id", crl.trouble->id()}, {"message", crl.trouble->message()}};
  return out;
}

}  // namespace

json trust_json(const certs::TrustBundle& bundle, const certs::CrlVerdict& crl, const config::TrustSettings& settings,
                Loop::Duration shift) {
  json out = {{"schema_version", 1},
              {"roots", json::array()},
              {"excluded", settings.exclude},
              {"dropped", bundle.state().dropped},
              {"overlap_seconds", settings.overlap.count()}};
  for (const auto& root : bundle.roots()) out["roots"].push_back(root_json(bundle, root, shift));
  if (!settings.crl.empty()) out["crl"] = crl_json(crl, settings.crl);
  return out;
}

}  // namespace hawser
