// SPDX-License-Identifier: Apache-2.0
#include "lease.h"

#include <utility>

#include "base/log.h"
#include "hawser/broker.pb.h"

namespace hawser {

namespace v1 = broker::v1;

Lease::Lease(Loop& loop, Call call) : loop_(loop), call_(std::move(call)) {}
Lease::~Lease() = default;

void Lease::start() {
  renew();
}

// By the clock, not by the answer: a broker that answers late is told in time all the same.
void Lease::renew() {
  timer_ = loop_.after(kEvery, [this] { renew(); });
  v1::Request request;
  request.mutable_lease();
  call_(request, kTimeout, [this, alive = std::weak_ptr<bool>(alive_)](const Result<v1::Response>& answer) {
    if (alive.expired()) return;
    const bool failed = !answer;
    if (failed && !failing_) log::debug("the lease couldn't be renewed", {{"error", answer.error().to_string()}});
    failing_ = failed;
  });
}

void Lease::release(std::function<void()> done) {
  timer_.reset();
  v1::Request request;
  request.mutable_lease()->set_release(true);
  call_(request, kReleaseTimeout, [done = std::move(done)](const Result<v1::Response>& answer) {
    if (!answer) log::debug("the lease couldn't be released", {{"error", answer.error().to_string()}});
    done();
  });
}

}  // namespace hawser
