// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "certs/identity.h"
#include "certs/machine.h"

// What: one generation folder of the key store: its name and its four files. Threading: blocking.
// The format is schema 2: it reads 1, which knows no plan, and later ones that say that this reader may (min_reader),
// so that a downgrade keeps the identity. Failure: HWS-ID-004 (not whole, or too new), HWS-ID-005 (write); `notes` gets
// HWS-ID-003 for each mode that was repaired.
namespace hawser::certs::generation {

std::string name_of(std::uint64_t number);
std::optional<std::uint64_t> number_of(const std::string& name, const std::string& prefix);
// gen-<n> in the folder, newest first.
std::vector<std::uint64_t> list(const std::string& folder, const std::string& prefix);

struct Stored {
  IdentityPtr identity;
  Machine machine;                    // that it was made on; unknown where an older version wrote it
  std::optional<Loop::Wall> renewal;  // as planned
};

struct ToStore {
  const Identity* identity;
  const Machine& machine;
  std::optional<Loop::Wall> renewal;
};

Status write(const std::string& path, const ToStore& what);
Result<Stored> read(const std::string& path, std::vector<Error>& notes);

}  // namespace hawser::certs::generation
