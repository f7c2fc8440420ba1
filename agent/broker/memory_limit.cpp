// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/memory_limit.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace hawser::broker {
namespace {

constexpr std::uint64_t kLeastShare = 1ULL << 30U;
// Under this no Envoy starts: it's a slip of the pen.
constexpr std::uint64_t kLeast = 64ULL << 20U;

std::optional<unsigned> shift_of(std::string_view unit) {
  constexpr std::string_view kUnits = "KMGT";
  if (unit.empty()) return 0;
  const auto at = kUnits.find(unit.front());
  if (unit.size() != 1 || at == std::string_view::npos) return std::nullopt;
  return 10 * (static_cast<unsigned>(at) + 1);
}

}  // namespace

std::optional<std::uint64_t> parse_memory_max(const std::string& text, std::uint64_t host_bytes) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (number == 0 && (unit.empty() || unit == "%")) return 0;
  if (unit == "%") {
    if (number > 100) return std::nullopt;
    const std::uint64_t share = std::max(host_bytes / 100 * number, kLeastShare);
    return share < host_bytes ? share : 0;
  }
  const auto shift = shift_of(unit);
  if (!shift || number > (std::numeric_limits<std::uint64_t>::max() >> *shift)) return std::nullopt;
  const std::uint64_t bytes = number << *shift;
  if (bytes < kLeast) return std::nullopt;
  return bytes;
}

}  // namespace hawser::broker
