// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::xds {

// What: when the next attempt at the control plane is due. Each wait is drawn anew from [0, window] (full jitter), and
// the window doubles from attempt to attempt until a stream was good for a while. It begins at `base` for a host that
// never had an answer, and at `spread` once a stream had one or the plane said that it is crowded: then others wait as
// well, and a fleet that left at one moment must not come back at one moment. What the plane asks for (a push-back,
// ResourceExhausted) is a floor, and whatever happens, there are no more than so many attempts in a time. A process's
// first attempt, and one after a close of our own, are not the policy's business: they happen at once.
// Threading: pure. Failure: none.
// Facts: istiod accepts min(15 + 5 × CPUs, 100) streams a second (PILOT_MAX_REQUESTS_PER_SECOND), keeps a second's
// worth of them waiting, and answers the others ResourceExhausted; it removes the entry of a host that it has missed
// for 10 s (PILOT_WORKLOAD_ENTRY_GRACE_PERIOD).
class ReconnectPolicy {
 public:
  struct Options {
    std::chrono::milliseconds base{200};
    std::chrono::milliseconds cap{15'000};
    // 0: the loss of a stream is a failure like any other.
    std::chrono::milliseconds spread{0};
    // Of the window while the plane refuses because it's crowded.
    std::chrono::milliseconds crowded_cap{60'000};
    // A stream that answers and dies at once, over and over, must not make us hammer the plane.
    std::chrono::milliseconds good_after{10'000};
    // After ResourceExhausted: the plane has too many already.
    std::chrono::milliseconds exhausted_floor{1'000};
    std::size_t most_in_window = 20;
    std::chrono::milliseconds window{60'000};
  };
  struct End {
    Code code = Code::kUnavailable;
    // How long the stream was good; nothing if the plane never answered.
    std::optional<Loop::Duration> good_for;
    std::optional<std::chrono::milliseconds> pushback;
    // The next attempt may be at another address: only the first retry is spread, or a fail-over would take minutes.
    bool elsewhere = false;
  };

  ReconnectPolicy(Options options, std::uint64_t seed) : options_(options), random_(seed) {}

  // May one more attempt be made now, though nothing has ended?
  bool allowed(Loop::Monotonic now) const { return until_allowed(now).count() == 0; }
  // An attempt begins now.
  void attempted(Loop::Monotonic now);
  // An attempt or its stream has ended: how long to wait.
  std::chrono::milliseconds ended(const End& end, Loop::Monotonic now);
  // The plane drains our connection, and perhaps everybody's: how long to stay on it. A plane that shuts down gives its
  // streams 10 s or more.
  std::chrono::milliseconds leave_after();
  // Since the last good stream.
  std::uint32_t attempts() const { return attempts_; }

 private:
  std::chrono::milliseconds draw(std::chrono::milliseconds cap, bool spread);
  std::chrono::milliseconds until_allowed(Loop::Monotonic now) const;

  Options options_;
  std::mt19937_64 random_;
  std::uint32_t attempts_ = 0;
  bool among_many_ = false;
  std::deque<Loop::Monotonic> recent_;
};

}  // namespace hawser::xds
