// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bootstrap/address.h"
#include "config/config.h"
#include "dial/selection.h"

namespace hawser {

// What: facts of this host that the configuration leaves open, looked up once at start. Threading: blocking (name
// look-up): on the slow worker. Failure: HWS-HF-001 when no name of the control plane has an address, nor had one,
// nor is one configured; HWS-DL-007 when the HTTP proxy's credentials can't be used.
struct HostFacts {
  std::string hostname;
  std::string platform;                         // by its firmware, without asking a metadata server
  std::vector<std::string> addresses;           // this host's, the one that is told to the plane first
  bootstrap::AddressChoice own;                 // by which rule, and which weren't taken
  std::vector<config::HostPort> plane;          // control plane, CA and HTTP proxy by address: never captured
  std::optional<dial::Selection::Proxy> proxy;  // in front of both
};

// Names that can't be looked up have the addresses that were seen last, kept beside the snapshot in `state_dir`.
Result<HostFacts> observe_host(const config::Config& config, const std::string& state_dir);
// Is this host fit for a join (bootstrap/preflight.h)? Warnings are logged.
Status judge_host(const config::Config& config, const HostFacts& facts);

}  // namespace hawser
