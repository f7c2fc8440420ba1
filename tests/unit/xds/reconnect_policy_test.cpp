// SPDX-License-Identifier: Apache-2.0
#include "xds/reconnect_policy.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hawser::xds {
namespace {

using namespace std::chrono_literals;

class ReconnectPolicyTest : public testing::Test {
 protected:
  std::chrono::milliseconds fail(Code code = Code::kUnavailable, std::optional<Loop::Duration> good_for = {}) {
    policy.attempted(now);
    ReconnectPolicy::End end;
    end.code = code;
    end.good_for = good_for;
    return policy.ended(end, now);
  }

  Loop::Monotonic now{};
  ReconnectPolicy policy{ReconnectPolicy::Options{}, 7};
};

TEST_F(ReconnectPolicyTest, DelaysAreJitteredUpToACeilingThatGrows) {
  std::chrono::milliseconds ceiling = 200ms;
  for (int i = 0; i < 12; ++i) {
    const auto delay = fail();
    EXPECT_GE(delay, 0ms);
    EXPECT_LE(delay, std::min(ceiling, std::chrono::milliseconds(15s)));
    ceiling *= 2;
    now += 15s;
  }
}

TEST_F(ReconnectPolicyTest, AStreamThatDiesAtOnceResetsNothing) {
  for (int i = 0; i < 8; ++i) {
    (void)fail(Code::kUnavailable, 1s);
    now += 15s;
  }
  EXPECT_EQ(policy.attempts(), 8u);
  (void)fail(Code::kUnavailable, 10s);
  EXPECT_EQ(policy.attempts(), 1u);
}

TEST_F(ReconnectPolicyTest, ExhaustedPlanesAreGivenTime) {
  for (int i = 0; i < 5; ++i) EXPECT_GE(fail(Code::kResourceExhausted), 1s);
}

TEST_F(ReconnectPolicyTest, APushbackIsAFloorWithinReason) {
  ReconnectPolicy::End end;
  end.pushback = 7s;
  const auto delay = policy.ended(end, now);
  EXPECT_GE(delay, 7s);
  EXPECT_LE(delay, 7s + 200ms);
  end.pushback = 24h;
  EXPECT_LE(policy.ended(end, now), 121s);
}

TEST_F(ReconnectPolicyTest, WithOtherAddressesOnlyTheFirstRetryIsSpread) {
  ReconnectPolicy::Options options;
  options.spread = 8s;
  std::chrono::milliseconds second{0};
  std::chrono::milliseconds first{0};
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    ReconnectPolicy spread(options, seed);
    ReconnectPolicy::End end;
    end.elsewhere = true;
    end.good_for = 1h;
    first = std::max(first, spread.ended(end, now));
    end.good_for.reset();
    second = std::max(second, spread.ended(end, now));
  }
  EXPECT_GT(first, 4s);
  EXPECT_LE(second, 400ms);
}

// A plane that serves each stream for 10 s and a bit, or that we believe does: never more than 20 in a minute.
TEST_F(ReconnectPolicyTest, NoMoreThanTwentyInAMinuteWhateverHappens) {
  std::vector<Loop::Monotonic> attempts;
  for (int i = 0; i < 200; ++i) {
    attempts.push_back(now);
    now += fail(Code::kOk, 10s);
  }
  for (std::size_t i = 20; i < attempts.size(); ++i) EXPECT_GE(attempts[i] - attempts[i - 20], 60s);
}

}  // namespace
}  // namespace hawser::xds
