// SPDX-License-Identifier: Apache-2.0
#include "proxy/process_watch.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <string>

#include "base/log.h"

namespace hawser::proxy {
namespace {

namespace asio = boost::asio;

class PidfdWatch final : public ProcessWatcher::Watch {
 public:
  PidfdWatch(AsioLoop& loop, int fd, std::function<void()> ended)
      : descriptor_(loop.context(), fd), alive_(std::make_shared<bool>(true)) {
    // A pidfd becomes readable when the process ends; there's nothing to read.
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [alive = alive_, ended = std::move(ended)](const boost::system::error_code& error) {
                             if (error || !*alive) return;
                             auto run = ended;  // it may destroy its own watch
                             run();
                           });
  }
  ~PidfdWatch() override { *alive_ = false; }

 private:
  asio::posix::stream_descriptor descriptor_;
  std::shared_ptr<bool> alive_;
};

}  // namespace

std::unique_ptr<ProcessWatcher::Watch> PidfdWatcher::watch(pid_t pid, std::function<void()> ended) {
  const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd >= 0) return std::make_unique<PidfdWatch>(loop_, fd, std::move(ended));
  if (errno != ESRCH) {
    log::warn("can't watch the proxy's process; its end is noticed by polling", {{"pid", std::to_string(pid)}});
    return nullptr;
  }
  // Gone already: told later, as the caller expects it.
  class Told final : public Watch {
   public:
    Told(Loop& loop, std::function<void()> work) : timer_(loop.after({}, std::move(work))) {}

   private:
    std::unique_ptr<Loop::Timer> timer_;
  };
  return std::make_unique<Told>(loop_, std::move(ended));
}

}  // namespace hawser::proxy
