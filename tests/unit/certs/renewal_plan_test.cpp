// SPDX-License-Identifier: Apache-2.0
#include "certs/renewal_plan.h"

#include <gtest/gtest.h>

#include "certs/clock.h"
#include "certs/utc.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;

const Loop::Wall kFrom = wall_of(1'700'000'000);
const Loop::Wall kTo = kFrom + 100h;

TEST(RenewalTime, LiesAtTheShareOfTheLifeWithinTheJitter) {
  EXPECT_EQ(renewal_time(kFrom, kTo, 0.5, 0.01, 0), kFrom + 50h);
  EXPECT_EQ(renewal_time(kFrom, kTo, 0.5, 0.01, 1), kFrom + 51h);
  EXPECT_EQ(renewal_time(kFrom, kTo, 0.5, 0.01, -1), kFrom + 49h);
  EXPECT_EQ(renewal_time(kFrom, kTo, 0.5, 0.01, -9), kFrom + 49h);
  EXPECT_EQ(renewal_time(kFrom, kTo, 1.0, 0.5, 1), kTo);
  EXPECT_EQ(renewal_time(kTo, kFrom, 0.5, 0.01, 0), kTo);  // a life that ends before it begins
}

TEST(RenewalPlan, SpreadsWhatWasMadeTogether) {
  const RenewalPolicy policy;
  EXPECT_LT(std::chrono::abs(plan_renewal(policy, kFrom, kTo, kFrom, true, -1) - (kFrom + 10h)), 1s);
  EXPECT_LT(std::chrono::abs(plan_renewal(policy, kFrom, kTo, kFrom, true, 1) - (kFrom + 50h)), 1s);
  EXPECT_LT(std::chrono::abs(plan_renewal(policy, kFrom, kTo, kFrom, false, -1) - (kFrom + 45h)), 1s);
}

TEST(RenewalPlan, IsNeverUnderTheFloorAndElseNotPastTheEnd) {
  const RenewalPolicy policy;
  EXPECT_EQ(plan_renewal(policy, kFrom, kFrom + 1min, kFrom + 50s, false, 0), kFrom + 55s);
  EXPECT_EQ(plan_renewal(policy, kFrom, kFrom + 3s, kFrom, false, 0), kFrom + 5s);
  EXPECT_EQ(plan_renewal(policy, kFrom, kFrom + 3s, kFrom + 9s, false, 0), kFrom + 14s);
}

TEST(RetryCap, FollowsWhatIsLeft) {
  const RenewalPolicy policy;
  EXPECT_EQ(retry_cap(policy, 12h), 10min);
  EXPECT_EQ(retry_cap(policy, 1h), 3min);
  EXPECT_EQ(retry_cap(policy, 30s), 5s);
  EXPECT_EQ(retry_cap(policy, 0s), 30s);
  EXPECT_EQ(retry_cap(policy, -1h), 30s);
}

TEST(Warning, IsTheLowestThresholdPassed) {
  const RenewalPolicy policy;
  EXPECT_EQ(warning_due(policy, kFrom, kTo, kFrom + 74h), std::nullopt);
  EXPECT_EQ(warning_due(policy, kFrom, kTo, kFrom + 76h), 0.25);
  EXPECT_EQ(warning_due(policy, kFrom, kTo, kFrom + 91h), 0.1);
  EXPECT_EQ(warning_due(policy, kTo, kFrom, kFrom), std::nullopt);
}

TEST(ClockWatch, TellsWhatTheClocksDisagreeAbout) {
  ClockWatch watch;
  Loop::Monotonic mono{};
  EXPECT_EQ(watch.look(kFrom, mono), std::nullopt);
  EXPECT_EQ(watch.look(kFrom + 10s, mono + 10s), std::nullopt);
  EXPECT_EQ(watch.look(kFrom + 45s, mono + 20s), std::nullopt);  // what a time service corrects
  EXPECT_EQ(watch.look(kFrom + 1h, mono + 30s), 1h - 45s - 10s);
  EXPECT_EQ(watch.look(kFrom, mono + 40s), -1h - 10s);
  EXPECT_EQ(watch.look(kFrom + 10s, mono + 50s), std::nullopt);
}

TEST(SpanText, HasTheTwoLargestUnits) {
  EXPECT_EQ(span_text(0s), "0 s");
  EXPECT_EQ(span_text(59s), "59 s");
  EXPECT_EQ(span_text(1h), "1 h");
  EXPECT_EQ(span_text(1h + 65s), "1 h 1 min");
  EXPECT_EQ(span_text(90 * 24h + 2h + 5min), "90 d 2 h");
  EXPECT_EQ(moved_text(-61s), "back by 1 min 1 s");
}

}  // namespace
}  // namespace hawser::certs
