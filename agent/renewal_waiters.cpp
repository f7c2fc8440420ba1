// SPDX-License-Identifier: Apache-2.0
#include "renewal_waiters.h"

#include <utility>

namespace hawser {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(10);

}  // namespace

RenewalWaiters::RenewalWaiters(Loop& loop, std::function<bool()> in_force)
    : loop_(loop), in_force_(std::move(in_force)) {}

void RenewalWaiters::wait(Done done) {
  if (waiters_.size() >= kMax)
    return done(Error(Code::kResourceExhausted, "HWS-AP-050", "too many callers wait for a renewal",
                      "the certificate is renewed; see hawser cert show"));
  waiters_.push_back({loop_.now() + kInForce, std::move(done)});
  look();
}

void RenewalWaiters::look() {
  timer_.reset();
  const bool in_force = in_force_();
  std::vector<Waiter> due;
  std::vector<Waiter> rest;
  for (auto& waiter : waiters_) (in_force || loop_.now() > waiter.deadline ? due : rest).push_back(std::move(waiter));
  waiters_ = std::move(rest);
  if (!waiters_.empty()) timer_ = loop_.after(kLookEvery, [this] { look(); });
  // Last: a caller may ask again, or end us.
  for (const auto& waiter : due)
    waiter.done(in_force
                    ? Status()
                    : Error(Code::kDeadlineExceeded, "HWS-MB-005",
                            "the certificate is renewed, but the proxy hasn't taken it", "hawser status; Envoy's log"));
}

void RenewalWaiters::close() {
  timer_.reset();
  for (const auto& waiter : std::exchange(waiters_, {})) waiter.done({});
}

}  // namespace hawser
