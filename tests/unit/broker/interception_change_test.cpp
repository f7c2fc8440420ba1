// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What changes nothing, what others change, and what is tried.
#include "interception_fixture.h"

namespace hawser::broker {
namespace {

using namespace std::chrono_literals;

TEST_F(InterceptionTest, TheSamePlanAgainIsNoTransaction) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 10s))));
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 10s))));
  EXPECT_EQ(kernel_.transactions, 1);
  kernel_.anchor = false;  // somebody's doing
  digest_of(interception.plan({}, 10s));
  EXPECT_EQ(kernel_.transactions, 2);
}

TEST_F(InterceptionTest, AnotherFailurePolicyIsAnotherTransaction) {
  auto interception = make();
  digest_of(interception.plan({}, 0s, Interception::Proxy::kThere, {.inbound_closed = false}));
  EXPECT_FALSE(kernel_.applied->inbound_stays);
  digest_of(interception.plan({}, 0s, Interception::Proxy::kThere, {.inbound_closed = true}));
  EXPECT_EQ(kernel_.transactions, 2);
  EXPECT_TRUE(kernel_.applied->inbound_stays);
  EXPECT_FALSE(kernel_.applied->outbound_stays);
}

TEST_F(InterceptionTest, WhatOthersChangeIsHealed) {
  auto interception = make();
  const std::string digest = digest_of(interception.plan({}, 0s));
  kernel_.applied.reset();
  interception.heard({{7, "nft", {"hawser"}, false}});
  loop_.advance(100ms);
  ASSERT_TRUE(kernel_.applied);
  EXPECT_EQ(kernel_.applied->digest, digest);
  EXPECT_EQ(interception.drift().healed, 1U);
  EXPECT_EQ(forgotten_, 2) << "what began meanwhile has met no rules";
}

TEST_F(InterceptionTest, WithoutItsAnchorWhatIsThereIsNoPatternForLaterLooks) {
  auto interception = make();
  kernel_.routing = true;
  digest_of(interception.plan({}, 0s));
  kernel_.anchor = false;
  kernel_.somebody_takes_it = true;
  loop_.advance(11s);
  kernel_.somebody_takes_it = false;
  loop_.advance(11s);
  EXPECT_TRUE(kernel_.anchor);
}

TEST_F(InterceptionTest, WhoCantSeeWhatItHealedLooksAgain) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  kernel_.anchor = false;
  kernel_.blind_looks = 2;  // the look that finds it, and the one after the repair
  loop_.advance(11s);
  EXPECT_EQ(interception.drift().healed, 1U);
  kernel_.anchor = false;
  loop_.advance(11s);
  EXPECT_TRUE(kernel_.anchor) << "it hasn't stopped looking";
}

TEST_F(InterceptionTest, WhatWasRemovedIsNotHealed) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  interception.remove([](const Status&) {});
  interception.heard({{7, "nft", {"hawser"}, false}});
  loop_.advance(1h);
  EXPECT_FALSE(kernel_.applied);
}

// What was in force when something else is tried.
class TryTest : public InterceptionTest {
 protected:
  TryTest() { tried_.outbound_exclude = {{9999, 9999}}; }

  static Interception::Terms terms(std::chrono::seconds time = 60s) {
    return {time, Interception::Proxy::kThere, {}, Interception::Unconfirmed::kRevert, true};
  }

  netfilter::Intent tried_;
};

TEST_F(TryTest, UnconfirmedInTimeWhatWasConfirmedComesBack) {
  auto interception = make();
  const std::string before = digest_of(interception.plan({}, 0s));
  ASSERT_TRUE(interception.confirm(before));
  const std::string tried = digest_of(interception.plan(tried_, terms()));
  EXPECT_NE(tried, before);
  loop_.advance(59s);
  EXPECT_EQ(kernel_.applied->digest, tried);
  loop_.advance(2s);
  EXPECT_EQ(kernel_.applied->digest, before);
  EXPECT_TRUE(interception.observe()->confirmed);
  EXPECT_EQ(recorded().in_force->digest, before);
}

TEST_F(TryTest, WithNothingConfirmedBeforeNothingIsLeft) {
  auto interception = make();
  digest_of(interception.plan(tried_, terms()));
  loop_.advance(61s);
  EXPECT_FALSE(kernel_.applied);
}

TEST_F(TryTest, ConfirmedItStays) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 0s))));
  const std::string tried = digest_of(interception.plan(tried_, terms()));
  ASSERT_TRUE(interception.confirm(tried));
  loop_.advance(1h);
  EXPECT_EQ(kernel_.applied->digest, tried);
}

TEST_F(TryTest, ASuccessorGoesBackInItsPlace) {
  std::string before;
  {
    auto interception = make();
    before = digest_of(interception.plan({}, 0s));
    ASSERT_TRUE(interception.confirm(before));
    digest_of(interception.plan(tried_, terms()));
  }
  loop_.advance(30s);
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  loop_.advance(29s);
  EXPECT_NE(kernel_.applied->digest, before);
  loop_.advance(2s);
  EXPECT_EQ(kernel_.applied->digest, before);
}

TEST_F(TryTest, OneThatFindsItsTimeOverGoesBackAtOnce) {
  std::string before;
  {
    auto interception = make();
    before = digest_of(interception.plan({}, 0s));
    ASSERT_TRUE(interception.confirm(before));
    digest_of(interception.plan(tried_, terms()));
  }
  loop_.advance(1h);
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  loop_.advance(1ms);
  EXPECT_EQ(kernel_.applied->digest, before);
}

TEST_F(TryTest, AFailedProbeGoesBackToWhatWasConfirmed) {
  auto interception = make();
  const std::string before = digest_of(interception.plan({}, 0s));
  ASSERT_TRUE(interception.confirm(before));
  probe_passes_ = false;
  EXPECT_EQ(interception.plan(tried_, terms()).error().id(), "HWS-BR-010");
  EXPECT_EQ(kernel_.applied->digest, before);
  EXPECT_TRUE(interception.observe()->confirmed);
}

TEST_F(TryTest, WhatWasNotConfirmedComesInOnlyByAnOperator) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 0s))));
  digest_of(interception.plan(tried_, terms()));
  loop_.advance(61s);
  EXPECT_EQ(interception.plan(tried_, 30s).error().id(), "HWS-BR-038");
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  EXPECT_EQ(successor.plan(tried_, 30s).error().id(), "HWS-BR-038") << "also after a restart";
  ASSERT_TRUE(successor.confirm(digest_of(successor.plan(tried_, terms()))));
  EXPECT_TRUE(successor.plan(tried_, 30s)) << "now it was";
}

TEST_F(TryTest, ACrashBetweenTwoPlansLeavesTheConfirmedOne) {
  std::string before;
  {
    auto interception = make();
    before = digest_of(interception.plan({}, 0s));
    ASSERT_TRUE(interception.confirm(before));
    digest_of(interception.plan(tried_, terms()));
  }
  auto record = recorded();
  record.in_force->digest = "of a third";
  auto successor = make();
  ASSERT_TRUE(successor.adopt(record));
  EXPECT_EQ(kernel_.applied->digest, before);
}

}  // namespace
}  // namespace hawser::broker
