// SPDX-License-Identifier: Apache-2.0
#include "status/time_text.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace hawser::status {

std::string utc_text(Loop::Wall when) {
  const auto millis = std::chrono::floor<std::chrono::milliseconds>(when.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(millis);
  const auto clock = static_cast<std::time_t>(seconds.count());
  std::tm parts{};
  if (gmtime_r(&clock, &parts) == nullptr) return {};
  std::array<char, 32> day{};
  if (std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &parts) == 0) return {};
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03dZ", static_cast<int>((millis - seconds).count()));
  return std::string(day.data()) + fraction.data();
}

}  // namespace hawser::status
