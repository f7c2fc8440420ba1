// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "base/loop.h"

// What: whether this host's clock can be believed, which certificates depend on. Threading: none of its own.
namespace hawser::certs {

// Has nobody set the clock yet (adjtimex(2): STA_UNSYNC), so soon after boot that somebody still may? A sandbox that
// forbids the question (ProtectClock=, as in our unit) counts as "nobody". Machines without a time service stay
// unsynchronised for ever, and their clock is as good as any then.
bool clock_unsettled();

// What: notices that the wall clock was set, or that the host was suspended: both clocks should move alike.
class ClockWatch {
 public:
  // How far the wall clock moved by itself since the last look; none below half a minute, which is what time services
  // correct. The first look tells nothing.
  std::optional<Loop::Duration> look(Loop::Wall wall, Loop::Monotonic mono);

 private:
  struct Seen {
    Loop::Wall wall;
    Loop::Monotonic mono;
  };
  std::optional<Seen> last_;
};

// "forward by 90 d 2 h", "back by 1 h 5 min".
std::string moved_text(Loop::Duration by);
// "2 h 10 min", "40 s"; the two largest units.
std::string span_text(Loop::Duration span);

}  // namespace hawser::certs
