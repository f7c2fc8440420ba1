// SPDX-License-Identifier: Apache-2.0
// The windows that a fleet's waits are drawn from. One host's waits tell nothing, so thousands are drawn.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "xds/reconnect_policy.h"

namespace hawser::xds {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const ReconnectPolicy::End kUnreachable{Code::kUnavailable, std::nullopt, std::nullopt};
const ReconnectPolicy::End kCrowded{Code::kResourceExhausted, std::nullopt, std::nullopt};
const ReconnectPolicy::End kLost{Code::kUnavailable, seconds(60), std::nullopt};

ReconnectPolicy::Options with_spread(milliseconds spread) {
  ReconnectPolicy::Options options;
  options.spread = spread;
  options.exhausted_floor = milliseconds(0);
  return options;
}

// All of `ends` one after the other befall each of many hosts: the last wait comes evenly from [0, window].
void expect_window(const ReconnectPolicy::Options& options, const std::vector<ReconnectPolicy::End>& ends,
                   milliseconds window) {
  constexpr int kHosts = 4000;
  milliseconds largest{0};
  double sum = 0;
  for (int host = 0; host < kHosts; ++host) {
    ReconnectPolicy policy(options, static_cast<std::uint64_t>(host));
    milliseconds wait{0};
    for (const auto& end : ends) wait = policy.ended(end, Loop::Monotonic());
    largest = std::max(largest, wait);
    sum += static_cast<double>(wait.count());
  }
  const auto whole = static_cast<double>(window.count());
  EXPECT_LE(largest, window);
  EXPECT_GE(largest, window * 98 / 100);
  EXPECT_NEAR(sum / kHosts, whole / 2, whole * 0.03);
}

TEST(ReconnectSpread, AHostThatNeverHadAnAnswerTriesAgainSoonAndThenLessOften) {
  const auto options = with_spread(seconds(8));
  expect_window(options, {kUnreachable}, milliseconds(200));
  expect_window(options, {kUnreachable, kUnreachable}, milliseconds(400));
  expect_window(options, std::vector<ReconnectPolicy::End>(9, kUnreachable), seconds(15));
}

TEST(ReconnectSpread, ADrainedConnectionIsLeftAnywhereInTheSpreadButBeforeThePlaneEndsIt) {
  for (const auto& [spread, most] : {std::pair(seconds(2), seconds(2)), std::pair(seconds(60), seconds(6))}) {
    milliseconds largest{0}, sum{0};
    for (std::uint64_t host = 0; host < 4000; ++host) {
      const auto stay = ReconnectPolicy(with_spread(spread), host).leave_after();
      largest = std::max(largest, stay);
      sum += stay;
    }
    EXPECT_LE(largest, most);
    EXPECT_NEAR(static_cast<double>(sum.count()) / 4000, static_cast<double>(milliseconds(most).count()) / 2, 200);
  }
  EXPECT_EQ(ReconnectPolicy(with_spread(milliseconds(0)), 1).leave_after(), milliseconds(0));
}

TEST(ReconnectSpread, ALostStreamIsSoughtAnywhereInTheSpreadAndThenInTwiceOfIt) {
  const auto options = with_spread(seconds(8));
  expect_window(options, {kLost}, seconds(8));
  expect_window(options, {kLost, kUnreachable}, seconds(16));
  expect_window(options, {kLost, kUnreachable, kUnreachable, kUnreachable, kUnreachable}, seconds(16));
}

TEST(ReconnectSpread, APlaneThatIsCrowdedIsLeftAloneForLongerAndLongerUpToAMinute) {
  const auto options = with_spread(seconds(8));
  expect_window(options, {kCrowded}, seconds(8));
  expect_window(options, {kCrowded, kCrowded}, seconds(16));
  expect_window(options, {kCrowded, kCrowded, kCrowded}, seconds(32));
  expect_window(options, {kCrowded, kCrowded, kCrowded, kCrowded}, seconds(60));
}

TEST(ReconnectSpread, AStreamThatLivedBeginsAnewAndAShortOneDoesNot) {
  const auto lost_after = [](Loop::Duration lived) {
    return std::vector<ReconnectPolicy::End>{kLost, kUnreachable, {Code::kUnavailable, lived, std::nullopt}};
  };
  expect_window(with_spread(seconds(8)), lost_after(seconds(10)), seconds(8));
  expect_window(with_spread(seconds(8)), lost_after(milliseconds(9'999)), seconds(16));
}

TEST(ReconnectSpread, WithoutASpreadALossIsAFailureLikeAnyOther) {
  expect_window(with_spread(milliseconds(0)), {kLost}, milliseconds(200));
  expect_window(with_spread(milliseconds(0)), {kLost, kUnreachable}, milliseconds(400));
}

TEST(ReconnectSpread, ALargeOneIsNeverCutByTheCaps) {
  expect_window(with_spread(seconds(120)), {kLost}, seconds(120));
  expect_window(with_spread(seconds(120)), {kLost, kUnreachable, kUnreachable}, seconds(240));
  expect_window(with_spread(seconds(120)), {kLost, kCrowded, kCrowded}, seconds(240));
}

}  // namespace
}  // namespace hawser::xds
