// SPDX-License-Identifier: Apache-2.0
#include "certs/utc.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace hawser::certs {

std::string utc_text(Loop::Wall when) {
  const std::time_t seconds = unix_seconds(when);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[32];
  const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {text, length};
}

Loop::Wall wall_of(std::int64_t unix_seconds) {
  using std::chrono::seconds;
  constexpr auto kLimit = std::chrono::duration_cast<seconds>(Loop::Duration::max()).count() - 1;
  return Loop::Wall(seconds(std::clamp(unix_seconds, -kLimit, kLimit)));
}

std::int64_t unix_seconds(Loop::Wall when) {
  return std::chrono::floor<std::chrono::seconds>(when.time_since_epoch()).count();
}

}  // namespace hawser::certs
