// SPDX-License-Identifier: Apache-2.0
#include "certs/token_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "base/fake_loop.h"
#include "jwt.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;

class FakeClock final : public TokenClock {
 public:
  Loop::Monotonic now() const override { return mono; }
  Loop::Wall wall() const override { return civil; }
  void pass(Loop::Duration time) {
    mono += time;
    civil += time;
  }
  Loop::Monotonic mono{};
  Loop::Wall civil{1'700'000'000s};
};

class FakeSource final : public TokenSource {
 public:
  FakeSource(std::shared_ptr<FakeClock> clock, double refresh_at) : clock_(std::move(clock)), refresh_at_(refresh_at) {}
  Traits traits() const override { return {"gce", true, refresh_at_}; }
  Result<Token> attest(const Challenge& challenge) override {
    ++calls;
    last = challenge;
    if (down) return Error(Code::kUnavailable, "HWS-ID-033", "the metadata server isn't reached");
    const auto issued = clock_->civil + skew;
    const std::string text = opaque ? "opaque-" + std::to_string(calls) : test::jwt_for("a", issued, life);
    return *parse_token(text);
  }

  int calls = 0;
  bool down = false;
  bool opaque = false;
  std::chrono::seconds life = 60min;
  std::chrono::seconds skew{0};
  Challenge last;

 private:
  std::shared_ptr<FakeClock> clock_;
  double refresh_at_;
};

// Work waits until it is run.
class LaterWorker final : public SlowWorker {
 public:
  void submit(std::function<void()> work) override { waiting.push_back(std::move(work)); }
  void run() {
    while (!waiting.empty()) {
      auto work = std::move(waiting.front());
      waiting.pop_front();
      work();
    }
  }
  std::deque<std::function<void()>> waiting;
};

struct TokenCacheTest : ::testing::Test {
  void use(double refresh_at) {
    source = std::make_shared<FakeSource>(clock, refresh_at);
    cache = std::make_shared<TokenCache>(source, clock);
  }
  std::shared_ptr<FakeClock> clock = std::make_shared<FakeClock>();
  std::shared_ptr<FakeSource> source;
  std::shared_ptr<TokenCache> cache;
  LaterWorker slow;
};

TEST_F(TokenCacheTest, FetchesOnceUntilTheShareOfItsLifeIsLeft) {
  use(0.4);
  const auto first = cache->read();
  ASSERT_TRUE(first);
  clock->pass(35min);
  EXPECT_EQ(cache->read()->text.reveal(), first->text.reveal());
  EXPECT_EQ(source->calls, 1);
  clock->pass(1min);  // 24 of 60 minutes are left
  EXPECT_NE(cache->read()->text.reveal(), first->text.reveal());
  EXPECT_EQ(source->calls, 2);
}

TEST_F(TokenCacheTest, ReadsWhatIsCheapAtEachUse) {
  use(0);
  ASSERT_TRUE(cache->read());
  ASSERT_TRUE(cache->read());
  EXPECT_EQ(source->calls, 2);
  source->down = true;
  EXPECT_FALSE(cache->read()) << "a file that is gone proves nothing any more";
  EXPECT_EQ(cache->at_hand(slow), "");
}

TEST_F(TokenCacheTest, UsesTheOldOneWhileTheSourceIsDownAndLeavesItAlone) {
  use(0.4);
  const auto first = std::string(cache->read()->text.reveal());
  source->down = true;
  clock->pass(40min);
  EXPECT_EQ(cache->read()->text.reveal(), first);
  EXPECT_EQ(cache->read()->text.reveal(), first);
  EXPECT_EQ(source->calls, 2) << "not asked again within 5 s";
  clock->pass(5s);
  EXPECT_TRUE(cache->read());
  EXPECT_EQ(source->calls, 3);
  clock->pass(20min);
  const auto ended = cache->read();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().id(), "HWS-ID-033");
  source->down = false;
  clock->pass(5s);
  EXPECT_TRUE(cache->read());
}

TEST_F(TokenCacheTest, AFailureIsToldAgainForFiveSeconds) {
  use(0.4);
  source->down = true;
  EXPECT_FALSE(cache->read());
  clock->pass(4s);
  EXPECT_FALSE(cache->read());
  EXPECT_EQ(source->calls, 1);
  clock->pass(1s);
  source->down = false;
  EXPECT_TRUE(cache->read());
}

TEST_F(TokenCacheTest, AJumpOfTheClockCostsOneRequestAndNoStorm) {
  use(0.4);
  ASSERT_TRUE(cache->read());
  clock->civil += 24h * 90;
  source->skew = -24h * 90;  // whose clock is right
  ASSERT_TRUE(cache->read());
  EXPECT_EQ(source->calls, 2);
  for (int i = 0; i < 10; ++i) {
    clock->pass(1min);
    ASSERT_TRUE(cache->read());
  }
  EXPECT_EQ(source->calls, 2);
  clock->civil -= 24h * 90 + 1h;  // set right again, and an hour too far
  source->skew = 1h;
  ASSERT_TRUE(cache->read());
  EXPECT_EQ(source->calls, 2) << "by the monotonic clock it is young";
  clock->pass(30min);
  ASSERT_TRUE(cache->read());
  EXPECT_EQ(source->calls, 3);
}

TEST_F(TokenCacheTest, ASuspendedHostDoesntProlongIt) {
  use(0.4);
  ASSERT_TRUE(cache->read());
  clock->civil += 50min;  // the monotonic clock stood still
  ASSERT_TRUE(cache->read());
  EXPECT_EQ(source->calls, 2);
}

TEST_F(TokenCacheTest, OneWhoseEndIsUnknownIsKeptForFiveMinutes) {
  use(0.4);
  source->opaque = true;
  EXPECT_EQ(cache->read()->text.reveal(), "opaque-1");
  clock->pass(299s);
  EXPECT_EQ(cache->read()->text.reveal(), "opaque-1");
  clock->pass(1s);
  EXPECT_EQ(cache->read()->text.reveal(), "opaque-2");
}

TEST_F(TokenCacheTest, AServerThatGivesTheSameOldTokenIsntAskedAtEachUse) {
  use(0.4);
  source->skew = -45min;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(cache->read());
    clock->pass(2s);
  }
  EXPECT_EQ(source->calls, 1);
}

TEST_F(TokenCacheTest, ARefusedOneIsntUsedAgain) {
  use(0.4);
  source->opaque = true;
  EXPECT_EQ(cache->read()->text.reveal(), "opaque-1");
  cache->forget();
  EXPECT_EQ(cache->at_hand(slow), "");
  EXPECT_EQ(cache->read()->text.reveal(), "opaque-2");
}

TEST_F(TokenCacheTest, TheLoopNeverWaitsAndOneFetchIsUnderWay) {
  use(0.4);
  EXPECT_EQ(cache->at_hand(slow), "");
  EXPECT_EQ(cache->at_hand(slow), "");
  ASSERT_EQ(slow.waiting.size(), 1U);
  slow.run();
  const auto first = cache->at_hand(slow);
  EXPECT_NE(first, "");
  EXPECT_TRUE(slow.waiting.empty());
  clock->pass(40min);
  EXPECT_EQ(cache->at_hand(slow), first) << "good for 20 minutes more";
  slow.run();
  EXPECT_NE(cache->at_hand(slow), first);
}

TEST_F(TokenCacheTest, AnEndedOneIsntAtHand) {
  use(0.4);
  ASSERT_TRUE(cache->read());
  source->down = true;
  clock->pass(60min);
  EXPECT_EQ(cache->at_hand(slow), "");
  slow.run();
  EXPECT_EQ(cache->at_hand(slow), "");
  EXPECT_TRUE(slow.waiting.empty()) << "a source that is down isn't asked at each attempt";
}

TEST_F(TokenCacheTest, WhatIsBoundToANonceOrAnotherAudienceIsntMixedUp) {
  use(0.4);
  ASSERT_TRUE(cache->read());
  ASSERT_TRUE(cache->attest({"", "n-1"}));
  EXPECT_EQ(source->last.nonce, "n-1");
  ASSERT_TRUE(cache->attest({"", "n-1"}));
  EXPECT_EQ(source->calls, 3) << "never kept";
  ASSERT_TRUE(cache->attest({"other", ""}));
  EXPECT_EQ(source->last.audience, "other");
  EXPECT_EQ(cache->at_hand(slow), "") << "it is for another audience";
}

}  // namespace
}  // namespace hawser::certs
