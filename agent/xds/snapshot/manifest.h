// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::xds::snapshot {

// One type as the manifest knows it.
struct TypeFile {
  std::string type_url;
  std::string file;  // its name in the folder
  std::uint64_t checksum = 0;
  std::uint64_t bytes = 0;
  std::uint64_t resources = 0;
  std::string system_version;
  Loop::Wall accepted_at;
  bool wildcard = false;
};

// What: which files make up the snapshot, and what holds for all of them. It's written last: what it doesn't name isn't
// part of the snapshot. Threading: a value; pure functions. Failure: HWS-SN-002.
struct Manifest {
  std::string node_identity;
  // What was intercepted when a working control plane confirmed it; empty: never.
  std::string confirmed_plan;
  Loop::Wall as_of;  // when the control plane was last seen to agree with all of it
  std::uint64_t sequence = 0;
  std::vector<TypeFile> types;

  const TypeFile* find(std::string_view type_url) const;
  std::uint64_t bytes() const;
};

Result<Manifest> parse_manifest(std::string_view bytes);
std::string build_manifest(const Manifest& manifest);

}  // namespace hawser::xds::snapshot
