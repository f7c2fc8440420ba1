// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <mutex>
#include <utility>

#include "base/loop.h"

namespace hawser::xds {

class Core;

// What: how gRPC's threads and the loop reach the relay's core: work posted to its strand, until the core is gone.
// Reactors outlive the core by a little; this outlives them. Threading: any. Failure: post() says false once closed.
class Mailbox {
 public:
  Mailbox(Loop& strand, Core& core) : strand_(&strand), core_(&core) {}

  bool post(std::function<void(Core&)> work) {
    std::lock_guard lock(mutex_);
    if (core_ == nullptr) return false;
    strand_->post([core = core_, work = std::move(work)] { work(*core); });
    return true;
  }
  void close() {
    std::lock_guard lock(mutex_);
    core_ = nullptr;
  }

 private:
  std::mutex mutex_;
  Loop* strand_;
  Core* core_;
};

}  // namespace hawser::xds
