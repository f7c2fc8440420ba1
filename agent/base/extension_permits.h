// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <map>
#include <string>
#include <vector>

// What: which extensions that make code at run time a proxy may use. Lua and Wasm compile into memory that is written
// and executed, so each that is allowed costs the sandbox of its process a part. Threading: any. Failure: none.
namespace hawser {

struct ExtensionPermits {
  bool lua = false;
  bool wasm = false;

  bool all() const { return lua && wasm; }
  bool operator==(const ExtensionPermits& other) const { return lua == other.lua && wasm == other.wasm; }
};

inline constexpr ExtensionPermits kEveryExtension{true, true};

// {"lua", "wasm"}; what isn't known isn't permitted.
inline std::vector<std::string> permit_words(const ExtensionPermits& permits) {
  std::vector<std::string> out;
  if (permits.lua) out.emplace_back("lua");
  if (permits.wasm) out.emplace_back("wasm");
  return out;
}

template <typename Words>
ExtensionPermits permits_of(const Words& words) {
  ExtensionPermits out;
  for (const std::string& word : words) {
    out.lua = out.lua || word == "lua";
    out.wasm = out.wasm || word == "wasm";
  }
  return out;
}

// Those of the generations that there are, and of any that starts now.
struct HostPermits {
  ExtensionPermits next;
  std::map<std::string, ExtensionPermits> running;

  ExtensionPermits of(const std::string& generation) const {
    const auto found = running.find(generation);
    return found == running.end() ? next : found->second;
  }
};

}  // namespace hawser
