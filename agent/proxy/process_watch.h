// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>

#include "base/asio_loop.h"

namespace hawser::proxy {

// What: tells at once when a process that isn't our child ends. Its exit status is for its parent to know.
// Threading: on the loop. Failure: where the kernel can't watch, nothing is told, and the caller's polling has to do.
class ProcessWatcher {
 public:
  class Watch {
   public:
    virtual ~Watch() = default;
  };
  virtual ~ProcessWatcher() = default;
  // `ended` runs once, later, also if there is no such process; not after the watch is destroyed.
  [[nodiscard]] virtual std::unique_ptr<Watch> watch(pid_t pid, std::function<void()> ended) = 0;
};

// By pidfd_open(2), which needs no privilege over the process.
class PidfdWatcher final : public ProcessWatcher {
 public:
  explicit PidfdWatcher(AsioLoop& loop) : loop_(loop) {}
  std::unique_ptr<Watch> watch(pid_t pid, std::function<void()> ended) override;

 private:
  AsioLoop& loop_;
};

}  // namespace hawser::proxy
