// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

// What: the ways in which one generation takes over from another, as an operator names them. Pure.
namespace hawser::proxy {

enum class HandOverKind {
  kSideBySide,   // a new family; both accept, then the old one drains
  kHotRestart,   // the next epoch, by the proxy's own protocol
  kPlannedCold,  // the old one drains and ends, then the new one starts: connects are refused for a moment
};

constexpr std::string_view hand_over_name(HandOverKind kind) {
  switch (kind) {
    case HandOverKind::kSideBySide:
      return "side-by-side";
    case HandOverKind::kHotRestart:
      return "hot-restart";
    case HandOverKind::kPlannedCold:
      return "planned-cold";
  }
  return "unknown";
}

// None also for "auto": that is a choice among them.
constexpr std::optional<HandOverKind> hand_over_kind(std::string_view name) {
  for (const auto kind : {HandOverKind::kSideBySide, HandOverKind::kHotRestart, HandOverKind::kPlannedCold})
    if (name == hand_over_name(kind)) return kind;
  return std::nullopt;
}

struct HandOverRequest {
  std::optional<HandOverKind> kind;  // none: chosen
  bool as_configured = true;         // where there is none: as the configuration says, which may be one
  bool plan = false;                 // look only: what would happen?
  std::string binary_sha256 = {};    // empty: the store's current one
  bool limited = false;              // to proxy.hand_overs_per_hour
};

// One condition of a hand-over.
struct Gate {
  std::string name;
  std::string generation;  // the one that it's asked of
  bool passed = true;
  std::string reason;
  std::chrono::milliseconds took{0};  // since the gate before
};

}  // namespace hawser::proxy
