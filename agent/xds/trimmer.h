// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "base/loop.h"

namespace hawser::xds {

// What: gives the memory of large messages back to the kernel when they are over. malloc keeps what is freed for the
// next message, which is right while a plane pushes and tens of megabytes too much for the hours in between.
// Threading: the relay's strand. Failure: none.
class Trimmer {
 public:
  static constexpr std::chrono::milliseconds kQuiet{2000};
  // Less than this isn't worth the walk through the heap.
  static constexpr std::size_t kWorth = std::size_t{256} << 10;

  explicit Trimmer(Loop& strand) : strand_(strand) {}

  // A message of this size went through.
  void moved(std::size_t bytes);
  // A connection was made: handshake and first answers leave a heap behind, too.
  void connected() { moved(kWorth); }
  void stop() { timer_.reset(); }

 private:
  void arm();
  void look();

  Loop& strand_;
  std::size_t bytes_ = 0;
  Loop::Monotonic last_{};
  std::unique_ptr<Loop::Timer> timer_;
};

}  // namespace hawser::xds
