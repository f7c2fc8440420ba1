// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace hawser {

// What: who renewed the certificate and waits until the proxy presents it. Any number of callers up to kMax, each with
// a deadline of its own. Threading: on the loop. Failure: HWS-MB-005 (not in time), HWS-AP-050 (too many wait).
class RenewalWaiters {
 public:
  using Done = std::function<void(Status)>;

  static constexpr std::size_t kMax = 64;
  static constexpr auto kInForce = std::chrono::seconds(5);  // for Envoy to take a new certificate

  // `in_force`: the proxy presents the newest certificate, or there is no proxy that could.
  RenewalWaiters(Loop& loop, std::function<bool()> in_force);

  void wait(Done done);
  // Answers all: the certificate is renewed, and who could take it ends.
  void close();

 private:
  struct Waiter {
    Loop::Monotonic deadline;
    Done done;
  };

  void look();

  Loop& loop_;
  std::function<bool()> in_force_;
  std::vector<Waiter> waiters_;
  std::unique_ptr<Loop::Timer> timer_;
};

}  // namespace hawser
