// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/binary_folder.h"

namespace hawser::binaries {

// Held while the store is changed by a command. Failure: HWS-CLI-047 (another command has it).
Result<UniqueFd> lock(const proxy::BinaryFolder& store);

// Those that must stay, whoever asks: current, previous, last-good, those of generations that are recorded in
// `proxy_dir`/run, running or not, and what the guardian would start. Failure: HWS-CLI-003 (a record can't be read, so
// it isn't known).
Result<std::set<std::string>> in_use(const proxy::BinaryFolder& store, const std::string& proxy_dir);

struct Removed {
  std::string sha256;
  std::uint64_t bytes = 0;
};
// Removes the oldest of those that needn't stay, until `keep` are left. Of a quarantined one the quarantine stays.
Result<std::vector<Removed>> collect(const proxy::BinaryFolder& store, const std::string& proxy_dir, std::size_t keep);

}  // namespace hawser::binaries
