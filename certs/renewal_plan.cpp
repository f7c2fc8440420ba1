// SPDX-License-Identifier: Apache-2.0
#include "certs/renewal_plan.h"

#include <algorithm>

namespace hawser::certs {
namespace {

constexpr std::chrono::milliseconds kShortest{5'000};
constexpr std::chrono::milliseconds kLongest{600'000};
constexpr int kTriesLeft = 20;  // at least, before the end

}  // namespace

Loop::Wall renewal_time(Loop::Wall from, Loop::Wall not_after, double share, double jitter, double dice) {
  const double at = std::clamp(share + jitter * std::clamp(dice, -1.0, 1.0), 0.0, 1.0);
  const std::chrono::duration<double, std::nano> life = std::max(not_after - from, Loop::Duration::zero());
  return from + std::chrono::duration_cast<Loop::Duration>(life * at);
}

Loop::Wall plan_renewal(const RenewalPolicy& policy, Loop::Wall from, Loop::Wall not_after, Loop::Wall now, bool spread,
                        double dice) {
  const double half = policy.renew_at * policy.spread / 2;
  const auto at = spread ? renewal_time(from, not_after, policy.renew_at - half, half, dice)
                         : renewal_time(from, not_after, policy.renew_at, policy.jitter, dice);
  // Whole seconds, as it is stored and told.
  return std::chrono::ceil<std::chrono::seconds>(std::max(std::min(at, not_after), now + Loop::Duration(policy.floor)));
}

std::chrono::milliseconds retry_cap(const RenewalPolicy& policy, Loop::Duration left) {
  if (left <= Loop::Duration::zero()) return policy.retry_cap;
  const auto share = std::chrono::duration_cast<std::chrono::milliseconds>(left / kTriesLeft);
  return std::clamp(share, std::min(kShortest, policy.retry_cap), std::max(kLongest, policy.retry_cap));
}

std::optional<double> warning_due(const RenewalPolicy& policy, Loop::Wall from, Loop::Wall not_after, Loop::Wall now) {
  const std::chrono::duration<double> life = not_after - from;
  const std::chrono::duration<double> left = not_after - now;
  if (life.count() <= 0) return std::nullopt;
  std::optional<double> out;
  for (const double share : policy.warn_at)
    if (left.count() < life.count() * share) out = share;
  return out;
}

}  // namespace hawser::certs
