// SPDX-License-Identifier: Apache-2.0
#include "membership_json.h"

#include <nlohmann/json.hpp>

#include "status/time_text.h"

namespace hawser {

using nlohmann::json;

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
  return {{"connected", status.connected},
          {"address", status.address},
          {"name", name},
          {"streams_opened", status.streams_opened},
          {"passed_through", status.passed_through},
          {"held_back", std::move(holds)},
          {"last_error", status.last_error},
          {"istio_extensions", compat_json(status.compat)}};
}

json proxy_json(const proxy::Supervisor::Status& status) {
  return {{"generation", status.generation}, {"pid", status.pid},
          {"state", status.state},           {"since", status::utc_text(status.since)},
          {"version", status.version},       {"binary_sha256", status.binary_sha256},
          {"adopted", status.adopted}};
}

}  // namespace hawser
