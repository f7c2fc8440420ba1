// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace hawser::binaries {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
};

// "envoy.filters.http" has "envoy.filters.http.router", …
using Extensions = std::map<std::string, std::vector<std::string>>;
// As Envoy says at its start what it is built with; `said` are its log's bare messages. Empty: it doesn't say.
Extensions parse_extensions(const std::string& said);

struct Inspection {
  std::string version;              // "1.40.0"
  std::string build;                // as it says: commit, version, state, kind, TLS library
  std::string hot_restart_version;  // "11.104": only generations of the same one can take over from each other
  std::chrono::milliseconds validated_in{0};
  Extensions extensions;  // none if it doesn't tell them; then nothing depends on it
};

// What: asks a program what it is and is built with, and has it validate a small bootstrap with what a mesh proxy
// needs; run as `user`, never as root, without privileges, 30 s at most. `folder` is where `user` may read, for the
// bootstrap. Threading: blocking. Failure: HWS-CLI-046 (it can't run here, isn't an Envoy, or doesn't validate).
Result<Inspection> inspect(const std::string& program, const std::string& folder, const User& user);

}  // namespace hawser::binaries
