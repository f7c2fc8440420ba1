// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace hawser::certs {

// What: the machine's own roots: the bundle that its distribution keeps, the first of these that is there. It is read
// at each use, because packages and administrators change it. Threading: blocking reads; on the slow worker.
// Failure: HWS-CA-018. Source of the paths: where Debian, Red Hat, SUSE, Alpine and Arch put it.
const std::vector<std::string>& system_bundle_paths();
Result<std::string> find_system_bundle(const std::vector<std::string>& paths = system_bundle_paths());
Result<std::string> load_system_roots(const std::vector<std::string>& paths = system_bundle_paths());

}  // namespace hawser::certs
