// SPDX-License-Identifier: Apache-2.0
#include "certs/clock.h"

#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace hawser::certs {
namespace {

constexpr Loop::Duration kTolerated = std::chrono::seconds(30);
constexpr std::time_t kSoonAfterBoot = 180;  // seconds

}  // namespace

bool clock_unsettled() {
  timespec up{};
  if (::clock_gettime(CLOCK_BOOTTIME, &up) != 0 || up.tv_sec > kSoonAfterBoot) return false;
  // systemd-timesyncd(8) makes it with the first answer of a time server.
  if (::access("/run/systemd/timesync/synchronized", F_OK) == 0) return false;
  timex state{};
  const int asked = ::adjtimex(&state);
  return asked < 0 || (static_cast<unsigned>(state.status) & STA_UNSYNC) != 0;
}

std::optional<Loop::Duration> ClockWatch::look(Loop::Wall wall, Loop::Monotonic mono) {
  const auto before = std::exchange(last_, Seen{wall, mono});
  if (!before) return std::nullopt;
  const Loop::Duration moved = (wall - before->wall) - (mono - before->mono);
  if (moved < kTolerated && moved > -kTolerated) return std::nullopt;
  return moved;
}

std::string moved_text(Loop::Duration by) {
  return (by < Loop::Duration::zero() ? "back by " : "forward by ") + span_text(by);
}

std::string span_text(Loop::Duration span) {
  auto left = std::chrono::round<std::chrono::seconds>(span).count();
  if (left < 0) left = -left;
  constexpr std::array<std::pair<long, const char*>, 4> kUnits = {
      {{86400, " d"}, {3600, " h"}, {60, " min"}, {1, " s"}}};
  std::string out;
  int told = 0;
  for (const auto& [size, name] : kUnits) {
    if ((told == 0 && left < size && size > 1) || told == 2) continue;
    if (told > 0 && left < size) break;
    out += (told++ > 0 ? " " : "") + std::to_string(left / size) + name;
    left %= size;
  }
  return out;
}

}  // namespace hawser::certs
