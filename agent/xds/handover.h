// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace hawser::xds {

// What: the order between starting an operation of gRPC on the strand and its callback on a thread of gRPC's, spelled
// out in our own code. gRPC guarantees it, but inside a library that the thread sanitizer can't look into.
// Threading: give() on the strand before each operation, take() first in each callback.
class Handover {
 public:
  void give() { turns_.fetch_add(1, std::memory_order_release); }
  void take() const { (void)turns_.load(std::memory_order_acquire); }

 private:
  std::atomic<unsigned> turns_{0};
};

}  // namespace hawser::xds
