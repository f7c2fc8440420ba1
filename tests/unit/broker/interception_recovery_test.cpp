// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What a predecessor left, and what the guardian decides.
#include "interception_fixture.h"

namespace hawser::broker {
namespace {

using namespace std::chrono_literals;

TEST_F(InterceptionTest, ASuccessorAdoptsConfirmedRules) {
  const std::string digest = left_behind(60s, true);
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  EXPECT_TRUE(successor.observe()->active);
  EXPECT_TRUE(successor.observe()->confirmed);
  EXPECT_EQ(kernel_.applied->digest, digest);
  loop_.advance(2h);
  EXPECT_TRUE(successor.observe()->active);
}

TEST_F(InterceptionTest, ASuccessorGoesOnWithTheTimeToConfirm) {
  const std::string digest = left_behind(60s, false);
  loop_.advance(50s);
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  loop_.advance(9s);
  EXPECT_TRUE(successor.observe()->active);
  EXPECT_FALSE(successor.observe()->confirmed);
  loop_.advance(2s);
  EXPECT_FALSE(kernel_.applied);
  EXPECT_FALSE(file::exists(options_.plan_path));
}

TEST_F(InterceptionTest, WhatASuccessorAdoptedCanBeConfirmed) {
  const std::string digest = left_behind(60s, false);
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  ASSERT_TRUE(successor.confirm(digest));
  loop_.advance(2h);
  EXPECT_TRUE(successor.observe()->confirmed);
}

TEST_F(InterceptionTest, AClockThatWasSetBackDoesNotMakeTheTimeToConfirmEndless) {
  left_behind(60s, false);
  loop_.set_wall(loop_.wall() - 1000h);
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  loop_.advance(options_.max_confirm + 1s);
  EXPECT_FALSE(kernel_.applied);
}

TEST_F(InterceptionTest, RulesWithoutARecordAreWithdrawn) {
  left_behind(60s, true);
  auto successor = make();
  ASSERT_TRUE(successor.adopt({}));
  EXPECT_FALSE(kernel_.applied);
}

TEST_F(InterceptionTest, ACrashBetweenTheRecordAndTheRulesKeepsTheConfirmedOnes) {
  left_behind(60s, true);
  auto record = recorded();
  record.in_force->digest = "of rules that never came in";
  record.in_force->confirmed = false;
  auto successor = make();
  ASSERT_TRUE(successor.adopt(record));
  EXPECT_TRUE(successor.observe()->confirmed);
  EXPECT_EQ(recorded().in_force->digest, kernel_.applied->digest);
}

TEST_F(InterceptionTest, RulesThatWentWithTheBrokerAreNotAppliedByTheNext) {
  left_behind(60s, true);
  kernel_.applied.reset();
  connections_ = 1;
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  EXPECT_FALSE(kernel_.applied);
  EXPECT_FALSE(successor.observe()->active);
  EXPECT_TRUE(successor.guarded());
  loop_.advance(1h);
  EXPECT_TRUE(kernel_.anchor);
  connections_ = 0;
  loop_.advance(10s);
  EXPECT_FALSE(kernel_.anchor);
}

TEST_F(InterceptionTest, RemoveDoesNotWaitForAStaleAnchorsConnections) {
  left_behind(60s, true);
  kernel_.applied.reset();
  connections_ = 1;
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  int answers = 0;
  successor.remove([&](const Status& status) { answers += status ? 1 : 100; });
  loop_.advance(6s);
  EXPECT_EQ(answers, 1);
  EXPECT_FALSE(kernel_.anchor);
}

TEST_F(InterceptionTest, ADamagedRecordIsNamed) {
  folder_.write("plan.pb", "\xff\xff\xff");
  EXPECT_EQ(PlanRecord::load(options_.plan_path).error().id(), "HWS-BR-015");
}

TEST_F(InterceptionTest, ARefusedPlanLeavesTheRecordOfTheOldOne) {
  auto interception = make();
  const std::string digest = digest_of(interception.plan({}, 10s));
  kernel_.refuse = Error(Code::kInternal, "HWS-NF-012", "no");
  netfilter::Intent other;
  other.ipv6 = true;
  EXPECT_FALSE(interception.plan(other, 10s));
  EXPECT_EQ(recorded().in_force->digest, digest);
}

TEST_F(InterceptionTest, ThePolicyRefusesInboundAndLetsOutboundGo) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 0s))));
  ASSERT_TRUE(interception.apply_policy());
  EXPECT_FALSE(kernel_.applied->outbound);
  EXPECT_TRUE(kernel_.applied->inbound);
  EXPECT_TRUE(kernel_.applied->rules.back().action.kind == netfilter::Action::Kind::kRefuse);
  EXPECT_FALSE(interception.observe()->active) << "hawserd has to apply its plan again";
  EXPECT_TRUE(interception.guarded());
}

TEST_F(InterceptionTest, ThePolicyRefusesOutboundWhereThatIsAskedFor) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(
      interception.plan({}, 0s, Interception::Proxy::kThere, {.inbound_closed = false, .outbound_closed = true}))));
  ASSERT_TRUE(interception.apply_policy());
  EXPECT_TRUE(kernel_.applied->outbound);
  EXPECT_FALSE(kernel_.applied->inbound);
}

TEST_F(InterceptionTest, ThePolicyOpenForBothTakesTheRulesOut) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(
      interception.plan({}, 0s, Interception::Proxy::kThere, {.inbound_closed = false, .outbound_closed = false}))));
  ASSERT_TRUE(interception.apply_policy());
  EXPECT_FALSE(kernel_.applied);
  EXPECT_TRUE(interception.guarded());
}

constexpr FailurePolicy kOpenForAWhile{.inbound_closed = true, .outbound_closed = false, .max_open_seconds = 30};

TEST_F(InterceptionTest, WhatIsOpenIsClosedAfterItsTime) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 0s, Interception::Proxy::kThere, kOpenForAWhile))));
  EXPECT_EQ(interception.open().until, 0);
  ASSERT_TRUE(interception.fail());
  EXPECT_FALSE(kernel_.applied->outbound);
  EXPECT_NE(interception.open().until, 0);
  loop_.advance(29s);
  EXPECT_FALSE(kernel_.applied->outbound);
  loop_.advance(2s);
  EXPECT_TRUE(kernel_.applied->outbound);
  EXPECT_TRUE(kernel_.applied->outbound_stays);
  EXPECT_EQ(interception.open().until, 0);
  EXPECT_EQ(interception.open().closed, 1U);
  EXPECT_TRUE(interception.policy_in_force());
  // It isn't opened again by another attempt in the same outage.
  ASSERT_TRUE(interception.apply_policy());
  EXPECT_TRUE(kernel_.applied->outbound);
}

TEST_F(InterceptionTest, AProxyThatComesBackInTimeEndsTheTime) {
  auto interception = make();
  const std::string digest = digest_of(interception.plan({}, 0s, Interception::Proxy::kThere, kOpenForAWhile));
  ASSERT_TRUE(interception.confirm(digest));
  ASSERT_TRUE(interception.fail());
  loop_.advance(20s);
  ASSERT_TRUE(interception.restore());
  loop_.advance(1min);
  EXPECT_EQ(kernel_.applied->digest, digest);
  EXPECT_EQ(interception.open().closed, 0U);
  // And the next outage has a time of its own.
  ASSERT_TRUE(interception.fail());
  loop_.advance(29s);
  EXPECT_FALSE(kernel_.applied->outbound);
}

TEST_F(InterceptionTest, OpenForBothIsClosedForBoth) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(
      digest_of(interception.plan({}, 0s, Interception::Proxy::kThere,
                                  {.inbound_closed = false, .outbound_closed = false, .max_open_seconds = 5}))));
  ASSERT_TRUE(interception.fail());
  EXPECT_FALSE(kernel_.applied);
  loop_.advance(6s);
  ASSERT_TRUE(kernel_.applied);
  EXPECT_TRUE(kernel_.applied->outbound && kernel_.applied->inbound);
}

TEST_F(InterceptionTest, ASuccessorClosesWhatItFindsOpenInTime) {
  {
    auto interception = make();
    ASSERT_TRUE(
        interception.confirm(digest_of(interception.plan({}, 0s, Interception::Proxy::kThere, kOpenForAWhile))));
    ASSERT_TRUE(interception.fail());
    loop_.advance(20s);
  }
  auto successor = make();
  ASSERT_TRUE(successor.adopt(recorded()));
  loop_.advance(9s);
  EXPECT_FALSE(kernel_.applied->outbound);
  loop_.advance(2s);
  EXPECT_TRUE(kernel_.applied->outbound);
  auto third = make();
  ASSERT_TRUE(third.adopt(recorded()));
  ASSERT_TRUE(third.apply_policy());
  EXPECT_TRUE(kernel_.applied->outbound) << "not opened again for the same outage";
}

TEST_F(InterceptionTest, WithoutAConfirmedPlanFailingTakesTheRulesOut) {
  auto interception = make();
  digest_of(interception.plan({}, 10s));
  EXPECT_EQ(interception.fail().error().id(), "HWS-BR-013");
  EXPECT_FALSE(kernel_.applied);
}

TEST_F(InterceptionTest, RestoreBringsTheConfirmedPlanBack) {
  auto interception = make();
  const std::string digest = digest_of(interception.plan({}, 0s));
  ASSERT_TRUE(interception.confirm(digest));
  ASSERT_TRUE(interception.apply_policy());
  ASSERT_TRUE(interception.restore());
  EXPECT_EQ(kernel_.applied->digest, digest);
  EXPECT_TRUE(interception.observe()->confirmed);
  EXPECT_FALSE(interception.policy_in_force());
}

TEST_F(InterceptionTest, RestoreLeavesConfirmedRulesAloneThatDontPassTheirProbe) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 0s))));
  probe_passes_ = false;
  EXPECT_EQ(interception.restore().error().id(), "HWS-BR-010");
  EXPECT_TRUE(interception.observe()->confirmed);
}

TEST_F(InterceptionTest, OutboundWithoutAProxyNeedsAPolicyThatClosesIt) {
  auto interception = make();
  EXPECT_EQ(interception.plan({}, 0s, Interception::Proxy::kWithout).error().id(), "HWS-BR-019");
  EXPECT_TRUE(interception.plan({}, 0s, Interception::Proxy::kWithout, {.outbound_closed = true}));
  for (const auto& rule : kernel_.applied->rules) EXPECT_EQ(rule.action.port, 0);
}

}  // namespace
}  // namespace hawser::broker
