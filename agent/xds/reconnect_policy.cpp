// SPDX-License-Identifier: Apache-2.0
#include "xds/reconnect_policy.h"

#include <algorithm>

namespace hawser::xds {
namespace {

using std::chrono::milliseconds;

// A push-back beyond this is somebody's mistake: a host isn't to be lost for an hour by one number.
constexpr milliseconds kMostPushback{120'000};
// istiod ends what is left of its streams 10 s after it began to shut down.
constexpr milliseconds kMostStay{6'000};

}  // namespace

void ReconnectPolicy::attempted(Loop::Monotonic now) {
  recent_.push_back(now);
  while (recent_.size() > options_.most_in_window) recent_.pop_front();
}

milliseconds ReconnectPolicy::ended(const End& end, Loop::Monotonic now) {
  const bool crowded = end.code == Code::kResourceExhausted;
  if (end.good_for && *end.good_for >= options_.good_after) attempts_ = 0;
  if (end.good_for || crowded) among_many_ = true;
  const bool spread = among_many_ && (crowded || attempts_ == 0 || !end.elsewhere);
  milliseconds floor = crowded ? options_.exhausted_floor : milliseconds(0);
  if (end.pushback) floor = std::max(floor, std::min(*end.pushback, kMostPushback));
  // The jitter comes on top of the floor: hosts that were sent away together are not to come back together.
  return std::max(floor + draw(crowded ? options_.crowded_cap : options_.cap, spread), until_allowed(now));
}

milliseconds ReconnectPolicy::leave_after() {
  const auto most = std::clamp(options_.spread, milliseconds(0), kMostStay);
  return milliseconds(std::uniform_int_distribution<std::int64_t>(0, most.count())(random_));
}

milliseconds ReconnectPolicy::draw(milliseconds cap, bool spread) {
  const milliseconds first = spread ? std::max(options_.base, options_.spread) : options_.base;
  // A host that draws from [0, window] again and again comes every window / 2. So an outage, however long, sees each
  // host once a spread only if the window gets to twice of it.
  const milliseconds last = spread ? std::max(cap, 2 * options_.spread) : cap;
  // 2^20 times any sensible window is past any sensible cap; the limit keeps the shift defined.
  const auto factor = std::int64_t{1} << std::min<std::uint32_t>(attempts_, 20);
  ++attempts_;
  const auto window = std::min<std::int64_t>(last.count(), first.count() * factor);
  return milliseconds(std::uniform_int_distribution<std::int64_t>(0, std::max<std::int64_t>(window, 0))(random_));
}

milliseconds ReconnectPolicy::until_allowed(Loop::Monotonic now) const {
  if (recent_.size() < options_.most_in_window) return milliseconds(0);
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(recent_.front() + options_.window - now));
}

}  // namespace hawser::xds
