// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/loop.h"

// What: moments as files have them. A file may hold any number: what a moment can't hold becomes the next that it can.
namespace hawser::xds::snapshot {

inline std::int64_t unix_ms(Loop::Wall when) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
}

inline Loop::Wall wall_of_ms(std::int64_t ms) {
  constexpr std::int64_t kMost = 9'000'000'000'000;  // the year 2255, within nanoseconds' 64 bits
  return Loop::Wall(std::chrono::milliseconds(std::clamp<std::int64_t>(ms, 0, kMost)));
}

}  // namespace hawser::xds::snapshot
