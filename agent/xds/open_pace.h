// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>

#include "base/backoff.h"
#include "base/loop.h"

namespace hawser::xds {

// What: when the next stream that a client wants may be opened to the plane, so that a client in a loop, or many at
// once, don't hammer it: a burst, then one each kEvery; after a failure of the plane a back-off with full jitter.
// Threading: the relay's strand. Failure: none.
class OpenPace {
 public:
  static constexpr int kBurst = 8;
  static constexpr std::chrono::seconds kEvery{1};
  // A stream that lived this long shows that the plane serves us.
  static constexpr std::chrono::seconds kHealthyAfter{10};

  explicit OpenPace(Backoff backoff) : backoff_(std::move(backoff)) {}

  // Books an opening: its time is the answer.
  Loop::Monotonic book(Loop::Monotonic now) {
    // The bucket as the time at which it will be full again.
    full_at_ = std::max(full_at_, now) + kEvery;
    const auto at = std::max(now, full_at_ - kBurst * kEvery);
    return std::max(at, not_before_);
  }
  void on_plane_failed(Loop::Monotonic now) { not_before_ = now + backoff_.next(); }
  void on_plane_served() {
    backoff_.reset();
    not_before_ = {};
  }

 private:
  Backoff backoff_;
  Loop::Monotonic full_at_{};
  Loop::Monotonic not_before_{};
};

}  // namespace hawser::xds
