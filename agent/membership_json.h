// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/loop.h"
#include "certs/identity.h"
#include "proxy/supervisor.h"
#include "xds/relay.h"

namespace hawser {

// What: parts of `hawser status --json` that a joined host adds. Threading: any. Failure: none.
nlohmann::json identity_json(const certs::Identity& identity, const std::string& presented_serial,
                             std::optional<Loop::Wall> next_renewal);
// For `hawser cert show` and `trust show`: "chain" and "roots", each certificate with subject, issuer, serial, sha256,
// key and times.
void add_bundles(nlohmann::json& cert, const certs::Identity& identity);
nlohmann::json control_plane_json(const xds::Relay::Status& status, const std::string& name);
// For `hawser xds status`.
nlohmann::json relay_json(const xds::Relay::Status& status, const std::string& name, nlohmann::json snapshot);
nlohmann::json proxy_json(const proxy::Supervisor::Status& status);

}  // namespace hawser
