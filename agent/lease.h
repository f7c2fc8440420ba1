// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::broker::v1 {
class Request;
class Response;
}  // namespace hawser::broker::v1

namespace hawser {

// What: tells the broker every three seconds that hawserd lives; without the lease and without a proxy the broker acts
// by itself (its guardian). release() says that hawserd ends on purpose. Threading: on the loop. Failure: a broker that
// is away or doesn't know leases is asked again at the next turn, and logged once at debug: what matters of its absence
// is the health item "broker".
class Lease {
 public:
  using Answer = std::function<void(Result<broker::v1::Response>)>;
  using Call = std::function<void(const broker::v1::Request&, std::chrono::milliseconds timeout, Answer)>;

  static constexpr auto kEvery = std::chrono::seconds(3);
  static constexpr auto kTimeout = std::chrono::seconds(2);
  static constexpr auto kReleaseTimeout = std::chrono::milliseconds(300);

  Lease(Loop& loop, Call call);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  void start();
  // `done` comes with the broker's answer, or without it after kReleaseTimeout.
  void release(std::function<void()> done);

 private:
  void renew();

  Loop& loop_;
  Call call_;
  std::unique_ptr<Loop::Timer> timer_;
  bool failing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser
