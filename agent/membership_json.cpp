// SPDX-License-Identifier: Apache-2.0
#include "membership_json.h"

#include <nlohmann/json.hpp>

#include "certs/x509.h"
#include "status/time_text.h"

namespace hawser {

using nlohmann::json;

namespace {

json certificates_json(const std::string& pem) {
  json out = json::array();
  const auto all = certs::describe_bundle(pem);
  if (!all) return out;
  for (const auto& one : *all)
    out.push_back({{"subject", one.subject},
                   {"issuer", one.issuer},
                   {"serial", one.serial},
                   {"sha256", one.sha256},
                   {"key", one.key},
                   {"not_before", status::utc_text(one.not_before)},
                   {"not_after", status::utc_text(one.not_after)}});
  return out;
}

}  // namespace

json identity_json(const certs::Identity& identity, const std::string& presented_serial,
                   std::optional<Loop::Wall> next_renewal) {
  json out = {{"spiffe_id", identity.spiffe_id},
              {"serial", identity.serial},
              {"issuer", identity.issuer},
              {"not_before", status::utc_text(identity.not_before)},
              {"not_after", status::utc_text(identity.not_after)},
              {"presented_serial", presented_serial}};
  if (next_renewal) out["next_renewal"] = status::utc_text(*next_renewal);
  return out;
}

void add_bundles(json& cert, const certs::Identity& identity) {
  cert["chain"] = certificates_json(identity.chain_pem);
  cert["roots"] = certificates_json(identity.roots_pem);
}

namespace {

json compat_json(const xds::IstioCompatStatus& status) {
  json removed = json::object();
  for (const auto& one : status.removed) removed[one.extension] = one.count;
  json out = {{"mode", status.strip ? "strip" : "keep"}, {"removed", std::move(removed)}};
  if (status.known) out["lacking"] = status.lacking;
  return out;
}

}  // namespace

json control_plane_json(const xds::Relay::Status& status, const std::string& name) {
  json holds = json::array();
  for (const auto& hold : status.holds) {
    holds.push_back({{"generation", hold.generation},
                     {"what", hold.what},
                     {"until", status::utc_text(hold.until)},
                     {"reason", hold.reason},
                     {"streams", hold.streams}});
  }
  json out = {{"connected", status.connected},
              {"address", status.address},
              {"name", name},
              {"dialled", status.dialled},
              {"priority", status.priority},
              {"attempts", status.attempts},
              {"moves", status.moves},
              {"streams_opened", status.streams_opened},
              {"passed_through", status.passed_through},
              {"held_back", std::move(holds)},
              {"last_error", status.last_error},
              {"istio_extensions", compat_json(status.compat)}};
  if (status.since.time_since_epoch().count() > 0) out["since"] = status::utc_text(status.since);
  if (status.next_try) out["next_try"] = status::utc_text(*status.next_try);
  return out;
}

json relay_json(const xds::Relay::Status& status, const std::string& name, json snapshot) {
  json out = {{"schema_version", 1},
              {"control_plane", control_plane_json(status, name)},
              {"serves", status.serves_snapshot ? "snapshot" : "control plane"},
              {"downstreams", status.downstreams},
              {"forwarded", status.forwarded},
              {"snapshot", std::move(snapshot)},
              {"types", json::array()}};
  for (const auto& type : status.types) {
    json item = {{"type", type.type},           {"resources", type.resources},
                 {"bytes", type.bytes},         {"version", type.system_version},
                 {"responses", type.responses}, {"acks", type.accepted},
                 {"nacks", type.rejected},      {"from_snapshot", type.restored}};
    const auto add = [&item](const char* key, const std::optional<Loop::Wall>& when) {
      if (when) item[key] = status::utc_text(*when);
    };
    add("last_response", type.responded_at);
    add("last_ack", type.accepted_at);
    add("last_nack", type.rejected_at);
    out["types"].push_back(std::move(item));
  }
  return out;
}

json proxy_json(const proxy::Supervisor::Status& status) {
  return {{"generation", status.generation}, {"pid", status.pid},
          {"state", status.state},           {"since", status::utc_text(status.since)},
          {"version", status.version},       {"binary_sha256", status.binary_sha256},
          {"adopted", status.adopted}};
}

}  // namespace hawser
