// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

// What: the parts of a generation's name, f<family>e<epoch>. The broker checks names again by its own, stricter rules.
namespace hawser::proxy {

struct GenerationId {
  static constexpr unsigned kMaxEpoch = 9999;

  unsigned family = 0;
  unsigned epoch = 0;

  unsigned base_id() const { return 4100 + family; }  // Envoy's, as the broker gives it
  std::string text() const { return "f" + std::to_string(family) + "e" + std::to_string(epoch); }
};

inline std::optional<GenerationId> generation_id(std::string_view name) {
  const auto take = [&name](char letter, unsigned& out) {
    if (name.empty() || name.front() != letter) return false;
    name.remove_prefix(1);
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), out);
    if (error != std::errc()) return false;
    name.remove_prefix(static_cast<std::size_t>(end - name.data()));
    return true;
  };
  GenerationId out;
  if (!take('f', out.family) || !take('e', out.epoch) || !name.empty() || out.epoch > GenerationId::kMaxEpoch)
    return std::nullopt;
  return out;
}

}  // namespace hawser::proxy
