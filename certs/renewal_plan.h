// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "base/loop.h"

// What: when to renew, when to try again, and when to say that it's getting late. Pure; units of std::chrono.
namespace hawser::certs {

struct RenewalPolicy {
  double renew_at = 0.5;  // share of the lifetime
  double jitter = 0.05;   // by how much of the lifetime this is moved, either way
  // Hosts that were given certificates at the same moment (a first start, the end of a CA's outage) would ask for the
  // next ones together as well: such a certificate is renewed anywhere in the last so much of the way to renew_at.
  double spread = 0.8;
  std::chrono::seconds floor{5};  // between two certificates, however short-lived
  std::chrono::milliseconds retry_cap{30'000};
  std::vector<double> warn_at = {0.25, 0.1};  // shares of the lifetime that are left, in falling order
};

// The given share of the way from `from` to `not_after`, moved by the jitter (a share too; `dice` is in [-1, 1]).
// `from` is when the certificate was received, or its own beginning when that isn't known any more: CAs date
// certificates back by minutes, which is much of a short life.
Loop::Wall renewal_time(Loop::Wall from, Loop::Wall not_after, double share, double jitter, double dice);

// Never past the end, but never sooner than the floor from `now`: a CA isn't asked without pause. `spread`: by the
// policy's spread instead of its jitter.
Loop::Wall plan_renewal(const RenewalPolicy& policy, Loop::Wall from, Loop::Wall not_after, Loop::Wall now, bool spread,
                        double dice);

// The longest pause between two attempts while `left` of the certificate's life is left: what has time needn't press a
// CA that is in trouble; without a certificate (zero or less) it's the policy's cap.
std::chrono::milliseconds retry_cap(const RenewalPolicy& policy, Loop::Duration left);

// The lowest of the policy's thresholds that the rest of the life has fallen under; none yet: nullopt.
std::optional<double> warning_due(const RenewalPolicy& policy, Loop::Wall from, Loop::Wall not_after, Loop::Wall now);

}  // namespace hawser::certs
