// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace hawser {

// What: the event loop that owns all module state, as modules see it. The production one wraps Boost.Asio's io_context
// (asio_loop.h); unit tests use FakeLoop with a clock that only moves when told.
// Threading: post() from any thread; everything else on the loop's thread. Failure: none.
class Loop {
 public:
  using Duration = std::chrono::nanoseconds;
  using Monotonic = std::chrono::time_point<std::chrono::steady_clock, Duration>;
  using Wall = std::chrono::time_point<std::chrono::system_clock, Duration>;

  // A pending call; destroying or resetting it cancels the call.
  class Timer {
   public:
    virtual ~Timer() = default;
  };

  virtual ~Loop() = default;
  virtual void post(std::function<void()> work) = 0;
  [[nodiscard]] virtual std::unique_ptr<Timer> after(Duration delay, std::function<void()> work) = 0;
  virtual Monotonic now() const = 0;
  virtual Wall wall() const = 0;
  // Debug assertion that the caller is on the loop's thread.
  virtual bool on_thread() const = 0;
};

// What: the one "slow" thread for blocking work (fsync, name look-ups). Results come back through Loop::post.
// Threading: submit() from the loop. Failure: work submitted after stop is dropped.
class SlowWorker {
 public:
  virtual ~SlowWorker() = default;
  virtual void submit(std::function<void()> work) = 0;
};

}  // namespace hawser
