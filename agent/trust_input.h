// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "config/config.h"

// What: whom others tell us to trust: files, and the control plane's ProxyConfig. Bounded.
// Failure: HWS-TR-001 (a file), HWS-TR-012 (the control plane's answer).
namespace hawser {

struct TrustFiles {
  std::map<std::string, Result<std::string>> roots;  // path → PEM
  Result<std::string> crl = std::string();           // empty: none is configured
};

// Blocking; on the slow worker.
TrustFiles read_trust_files(const config::TrustSettings& settings);

// The roots in a serialised istio.mesh.v1alpha1.ProxyConfig as one PEM text; empty if it names none. Any thread.
Result<std::string> roots_of_proxy_config(const std::string& config);

}  // namespace hawser
