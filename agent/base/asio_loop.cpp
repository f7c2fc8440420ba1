// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/asio_loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace hawser {
namespace {

class AsioTimer final : public Loop::Timer {
 public:
  AsioTimer(boost::asio::io_context& context, Loop::Duration delay, std::function<void()> work)
      : timer_(context, std::chrono::duration_cast<std::chrono::steady_clock::duration>(delay)),
        alive_(std::make_shared<bool>(true)) {
    // The handler may already be queued when the timer is cancelled; the flag stops it then.
    timer_.async_wait([alive = alive_, work = std::move(work)](const boost::system::error_code& error) {
      if (!error && *alive) {
        auto run = work;  // the handler may destroy its own timer
        run();
      }
    });
  }
  ~AsioTimer() override { *alive_ = false; }

 private:
  boost::asio::steady_timer timer_;
  std::shared_ptr<bool> alive_;
};

}  // namespace

AsioLoop::AsioLoop() = default;
AsioLoop::~AsioLoop() = default;

void AsioLoop::run() {
  thread_ = std::this_thread::get_id();
  auto guard = boost::asio::make_work_guard(context_);
  context_.run();
}

void AsioLoop::stop() {
  context_.stop();
}

void AsioLoop::post(std::function<void()> work) {
  boost::asio::post(context_, std::move(work));
}

std::unique_ptr<Loop::Timer> AsioLoop::after(Duration delay, std::function<void()> work) {
  return std::make_unique<AsioTimer>(context_, delay, std::move(work));
}

Loop::Monotonic AsioLoop::now() const {
  return std::chrono::steady_clock::now();
}
Loop::Wall AsioLoop::wall() const {
  return std::chrono::system_clock::now();
}
bool AsioLoop::on_thread() const {
  return thread_ == std::thread::id() || thread_ == std::this_thread::get_id();
}

ThreadWorker::ThreadWorker() : thread_([this] { run(); }) {}

ThreadWorker::~ThreadWorker() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void ThreadWorker::submit(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    queue_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void ThreadWorker::run() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace hawser
