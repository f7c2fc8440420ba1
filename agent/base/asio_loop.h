// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "base/loop.h"

namespace hawser {

// What: Loop over a Boost.Asio io_context; run() is called by main. Threading: see Loop.
class AsioLoop final : public Loop {
 public:
  AsioLoop();
  ~AsioLoop() override;

  boost::asio::io_context& context() { return context_; }
  // Runs until stop(); the calling thread becomes the loop's thread.
  void run();
  void stop();

  void post(std::function<void()> work) override;
  std::unique_ptr<Timer> after(Duration delay, std::function<void()> work) override;
  Monotonic now() const override;
  Wall wall() const override;
  bool on_thread() const override;

 private:
  boost::asio::io_context context_{1};
  std::thread::id thread_;
};

// What: SlowWorker with one thread, which ends with the object after the work at hand. The queue is bounded by its
// callers: each module has at most one piece of work under way.
class ThreadWorker final : public SlowWorker {
 public:
  ThreadWorker();
  ~ThreadWorker() override;
  void submit(std::function<void()> work) override;

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace hawser
