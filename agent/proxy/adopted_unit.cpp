// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/adopted_unit.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace hawser::proxy {
namespace {

constexpr std::size_t kDigestLength = 64;

// Users are given as numbers.
uid_t number_in(const std::optional<std::string>& text) {
  uid_t out = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), out);
  return out;
}

}  // namespace

GenerationSpec adopted_spec(const std::string& name, const UnitState& state) {
  GenerationSpec out;
  out.name = name;
  out.argv = state.command;
  if (!out.argv.empty()) {
    out.binary = out.argv.front();
    // <store>/<sha256>/envoy
    const std::string folder = std::filesystem::path(out.binary).parent_path().filename().string();
    if (folder.size() == kDigestLength && folder.find_first_not_of("0123456789abcdef") == std::string::npos)
      out.binary_sha256 = folder;
  }
  out.uid = number_in(state.user);
  out.gid = number_in(state.group);
  // rm -f -- PATH…
  const auto dashes = std::find(state.stop_post.begin(), state.stop_post.end(), "--");
  if (dashes != state.stop_post.end()) out.leftovers.assign(dashes + 1, state.stop_post.end());
  const auto option = std::find(out.argv.begin(), out.argv.end(), "-c");
  if (option != out.argv.end() && option + 1 != out.argv.end()) out.bootstrap = *(option + 1);
  return out;
}

}  // namespace hawser::proxy
