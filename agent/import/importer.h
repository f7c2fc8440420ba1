// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

// What: other tools' settings of interception → our configuration. Flags win over the environment's file, and both over
// the tool's defaults, as they did there. Sources of the names: `pilot-agent istio-iptables --help`, and the
// sidecar.env and iptables.sh of Google's advanced set-up for Traffic Director on VMs. Pure. Threading: none of its
// own. Failure: HWS-IM-001 (unknown flag), HWS-IM-002 (flag without value), HWS-IM-003 (bad value), HWS-IM-004 (a line
// that sets nothing), HWS-IM-005 (too much for us).
namespace hawser::import {

struct Input {
  std::string environment;             // the text of a file: NAME=VALUE lines, as the shell reads them
  std::string environment_name;        // what errors call it
  std::vector<std::string> arguments;  // of the command line
};

struct Imported {
  std::string yaml;                   // what config::parse() accepts, on a host that has its users and groups
  std::vector<std::string> warnings;  // what it never did, what we do otherwise, and what we can't do
};

Result<Imported> import_istio(const Input& input);
Result<Imported> import_traffic_director(const Input& input);

}  // namespace hawser::import
