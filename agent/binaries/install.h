// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "binaries/inspect.h"
#include "binaries/tools.h"
#include "proxy/binary_folder.h"

namespace hawser::binaries {

struct Wanted {
  std::string source;  // a file's path, or a URL
  std::string sha256;  // of what `source` is, a package included; needed for a URL
  std::optional<SignatureCheck> signature;
};

struct Installed {
  std::string sha256;  // of the program
  std::string version;
  std::string hot_restart_version;
};

// What: brings a proxy program into the store. It is copied aside, its digest and signature are checked, it's taken out
// of its package, run and made to validate as `user`, and only then gets its place and its record (binary.json); a
// failure leaves nothing. `say` gets a line for each thing that is done. Hold lock(store). Threading: blocking.
// Failure: HWS-CLI-003 (disk), HWS-CLI-004 (no program), HWS-CLI-040…046. Durability: program and record are on disk
// before the folder has its name.
using Say = std::function<void(const std::string& line)>;
Result<Installed> install(const proxy::BinaryFolder& store, const Wanted& wanted, const User& user, const Say& say);

// Makes it what starts use; what was current becomes `previous`. Failure: HWS-BR-027 (it is quarantined), HWS-BR-030.
Status use(const proxy::BinaryFolder& store, const std::string& sha256);

// "1a2b3c…": enough to tell binaries apart, and what a digest may be shortened to.
std::string short_digest(const std::string& sha256);
// The one binary whose digest begins so, of at least 6 digits; also one of which only the quarantine is left. Failure:
// HWS-CLI-048.
Result<std::string> find(const proxy::BinaryFolder& store, const std::string& beginning);

}  // namespace hawser::binaries
