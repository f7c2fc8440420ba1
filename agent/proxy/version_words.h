// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

namespace hawser::proxy {

// What: what `envoy --version` says, "…/envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL". Pure. Failure: both
// are empty where it's something else.
struct VersionWords {
  std::string build;    // from the commit on
  std::string version;  // 1.40.0
};
VersionWords version_words(const std::string& said);

}  // namespace hawser::proxy
