// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/metrics.h"

namespace hawser {

// What: the start-up events of a host, in this order; each is seen in the log, `hawser status`, the metric
// hawser_lifecycle_event_seconds and systemd's STATUS. Stopping walks them backwards.
enum class Event {
  kConfigured,
  kPreflightOk,
  kIdentityReady,
  kControlPlaneConnected,
  kProxyReady,
  kIntercepting,
  kRegistered
};
inline constexpr std::size_t kEventCount = 7;

std::string_view event_name(Event event);
std::optional<Event> event_of(std::string_view name);

// Threading: on the loop. Failure: none; events are reached in order (asserted) and lost from the end. One may be
// passed over where a later one can do without it; it then doesn't hold until it's reached for real.
class Lifecycle {
 public:
  struct Reached {
    Event event{};
    Loop::Wall at;
    Loop::Duration since_start{};
    std::string passed_over;  // why; empty: it holds
  };

  Lifecycle(Loop& loop, Metrics& metrics);

  // The clock of "since start" begins again, e.g. on join.
  void restart();
  // All earlier events must have been reached or passed over; reaching one again is ignored.
  void reach(Event event);
  // Makes way for the later ones. Nobody who waits for the event is told; ignored for an event that holds.
  void pass_over(Event event, const std::string& reason);
  // This event and all later ones no longer hold.
  void lose(Event event, const std::string& reason);
  bool reached(Event event) const;
  // The last that holds.
  std::optional<Event> last() const;
  // With those that were passed over.
  std::vector<Reached> history() const;

  // Runs `done(true)` when the event is reached, `done(false)` after `timeout`. At most 64 waiters; more are refused.
  void wait(Event event, Loop::Duration timeout, std::function<void(bool)> done);

  // Called after each change; one listener.
  void on_change(std::function<void()> listener) { changed_ = std::move(listener); }

 private:
  struct Waiter {
    Event event{};
    std::function<void(bool)> done;
    std::unique_ptr<Loop::Timer> timer;
  };

  void wake();

  Loop& loop_;
  Metrics& metrics_;
  Loop::Monotonic start_;
  std::array<std::optional<Reached>, kEventCount> reached_{};
  std::vector<std::shared_ptr<Waiter>> waiters_;
  std::function<void()> changed_ = [] {};
};

}  // namespace hawser
