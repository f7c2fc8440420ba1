// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "base/loop.h"

namespace hawser {

// What: Loop for unit tests; single thread, virtual time. Work runs only inside run_ready() and advance().
class FakeLoop final : public Loop {
 public:
  void post(std::function<void()> work) override { ready_.push_back(std::move(work)); }

  std::unique_ptr<Timer> after(Duration delay, std::function<void()> work) override {
    auto slot = std::make_shared<std::function<void()>>(std::move(work));
    timers_.emplace(now_ + delay, slot);
    return std::make_unique<FakeTimer>(std::move(slot));
  }

  Monotonic now() const override { return now_; }
  Wall wall() const override { return wall_; }
  bool on_thread() const override { return true; }

  void set_wall(Wall wall) { wall_ = wall; }

  // Runs all posted work, also what that work posts.
  void run_ready() {
    while (!ready_.empty()) {
      auto work = std::move(ready_.front());
      ready_.pop_front();
      work();
    }
  }

  // Moves both clocks, firing timers in order.
  void advance(Duration by) {
    run_ready();
    const Monotonic end = now_ + by;
    while (!timers_.empty() && timers_.begin()->first <= end) {
      auto [when, slot] = *timers_.begin();
      timers_.erase(timers_.begin());
      step_to(when);
      if (*slot) {
        auto work = std::move(*slot);
        *slot = nullptr;
        work();
      }
      run_ready();
    }
    step_to(end);
  }

  std::size_t pending_timers() const {
    std::size_t live = 0;
    for (const auto& [when, slot] : timers_) live += *slot ? 1 : 0;
    return live;
  }

 private:
  class FakeTimer final : public Timer {
   public:
    explicit FakeTimer(std::shared_ptr<std::function<void()>> slot) : slot_(std::move(slot)) {}
    ~FakeTimer() override { *slot_ = nullptr; }

   private:
    std::shared_ptr<std::function<void()>> slot_;
  };

  void step_to(Monotonic when) {
    if (when <= now_) return;
    wall_ += when - now_;
    now_ = when;
  }

  std::deque<std::function<void()>> ready_;
  std::multimap<Monotonic, std::shared_ptr<std::function<void()>>> timers_;
  Monotonic now_{};
  Wall wall_{std::chrono::seconds(1'700'000'000)};
};

// Runs work at once: enough where a test has no thread to wait for.
class InlineWorker final : public SlowWorker {
 public:
  void submit(std::function<void()> work) override { work(); }
};

}  // namespace hawser
