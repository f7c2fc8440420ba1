// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "bootstrap/address.h"
#include "config/config.h"

namespace hawser {

// What: facts of this host that the configuration leaves open, looked up once at start. Threading: blocking (name
// look-up): on the slow worker. Failure: HWS-HF-001 when the control plane's name has no address and none is
// configured.
struct HostFacts {
  std::string hostname;
  std::string platform;                 // by its firmware, without asking a metadata server
  std::vector<std::string> addresses;   // this host's, the one that is told to the plane first
  bootstrap::AddressChoice own;         // by which rule, and which weren't taken
  std::vector<config::HostPort> plane;  // control plane and CA by address: dialled, and never captured
  std::vector<std::string> ca;          // the CA alone, host:port, tried in order
  std::string dial_target;              // the plane, for gRPC: ipv4:10.0.0.1:15012,10.0.0.2:15012
};

Result<HostFacts> observe_host(const config::Config& config);
// Is this host fit for a join (bootstrap/preflight.h)? Warnings are logged.
Status judge_host(const config::Config& config, const HostFacts& facts);

}  // namespace hawser
