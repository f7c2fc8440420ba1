// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "bootstrap/bundle_identity.h"

// What: the five files of `istioctl x workload entry configure` (root-cert.pem, istio-token, cluster.env, mesh.yaml,
// hosts), read unchanged, and the drop-in that a join writes from them. cluster.env is read, never run; /etc/hosts is
// never edited. What Hawser can't do is refused here, with the file's name and line, and not left out in silence.
// Threading: blocking reads. The token's mode is set to 0600 if others could read it, with a warning.
// Failure: HWS-ON-001 (a file is missing or unreadable), HWS-ON-002 (no token), HWS-ON-003 (root-cert.pem holds no
// certificate), HWS-ON-004 (mesh.yaml), HWS-ON-005 (cluster.env), HWS-ON-006 (hosts), HWS-ON-007 (asks for something
// that Hawser doesn't do).
namespace hawser::bootstrap {

struct Bundle {
  std::string root_pem;
  std::string token;
  std::string discovery_address;                      // host:port
  std::string ca_address;                             // empty: the same
  std::vector<std::string> dial;                      // what `hosts` maps the control plane's name to
  std::map<std::string, std::string> env;             // cluster.env
  std::map<std::string, std::string> proxy_metadata;  // mesh.yaml
  BundleIdentity identity;                            // of both
  std::string readiness_yaml;                         // the health: block of our configuration; empty: none
  std::vector<std::string> warnings;
};

Result<Bundle> load_bundle(const std::string& folder);
// The text of 50-join.yaml. Pure.
std::string to_join_yaml(const Bundle& bundle);

}  // namespace hawser::bootstrap
