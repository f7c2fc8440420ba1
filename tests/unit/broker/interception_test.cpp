// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "interception_fixture.h"

namespace hawser::broker {
namespace {

using namespace std::chrono_literals;

TEST_F(InterceptionTest, TheBrokerExemptsAgentAndProxyByItself) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  bool users = false;
  for (const auto& rule : kernel_.applied->rules)
    users = users || rule.match.uids == std::vector<netfilter::IdRange>{881, 882};
  EXPECT_TRUE(users);
}

TEST_F(InterceptionTest, RulesAreOfUseWithoutConnectionTrackingsHelp) {
  auto interception = make();
  tracking_fails_ = true;
  digest_of(interception.plan({}, 0s));
  EXPECT_TRUE(interception.observe()->active);
}

TEST_F(InterceptionTest, WhatIsUnansweredIsForgottenOnceTheRulesComeAndNotWhenTheyAreThere) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  EXPECT_EQ(forgotten_, 1);
  digest_of(interception.plan({}, 0s));
  EXPECT_EQ(forgotten_, 1) << "the same rules were there";
  netfilter::Intent other;
  other.ipv6 = true;
  digest_of(interception.plan(other, 0s));
  EXPECT_EQ(forgotten_, 2) << "these capture something else";
  ASSERT_TRUE(kernel_.remove_rules());
  digest_of(interception.plan(other, 0s));
  EXPECT_EQ(forgotten_, 3) << "somebody had taken them away";
}

TEST_F(InterceptionTest, UnconfirmedRulesAreWithdrawnAndConfirmedOnesStay) {
  auto interception = make();
  digest_of(interception.plan({}, 10s));
  loop_.advance(9s);
  EXPECT_TRUE(interception.observe()->active);
  loop_.advance(2s);
  EXPECT_FALSE(interception.observe()->active);
  EXPECT_FALSE(kernel_.anchor);

  const std::string digest = digest_of(interception.plan({}, 10s));
  ASSERT_TRUE(interception.confirm(digest));
  loop_.advance(1h);
  EXPECT_TRUE(interception.observe()->active);
  EXPECT_TRUE(interception.observe()->confirmed);
}

TEST_F(InterceptionTest, ANewPlanNeedsItsOwnConfirmation) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 10s))));
  netfilter::Intent other;
  other.ipv6 = true;
  digest_of(interception.plan(other, 10s));
  EXPECT_FALSE(interception.observe()->confirmed);
  loop_.advance(11s);
  EXPECT_FALSE(interception.observe()->active);
}

TEST_F(InterceptionTest, OnlyTheDigestInForceCanBeConfirmed) {
  auto interception = make();
  EXPECT_EQ(interception.confirm("").error().id(), "HWS-BR-013");
  digest_of(interception.plan({}, 10s));
  EXPECT_EQ(interception.confirm("other").error().id(), "HWS-BR-013");
}

TEST_F(InterceptionTest, AFailedProbeWithdrawsAtOnceAndSaysWhichOne) {
  auto interception = make();
  probe_passes_ = false;
  auto applied = interception.plan({}, 10s);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().id(), "HWS-BR-010");
  EXPECT_NE(applied.error().message().find("out4: because"), std::string::npos);
  EXPECT_FALSE(kernel_.applied);
  EXPECT_EQ(loop_.pending_timers(), 0U);
}

TEST_F(InterceptionTest, ARefusedPlanLeavesTheOldOneInForce) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 10s))));
  kernel_.refuse = Error(Code::kInternal, "HWS-NF-012", "no");
  netfilter::Intent other;
  other.ipv6 = true;
  EXPECT_EQ(interception.plan(other, 10s).error().id(), "HWS-NF-012");
  EXPECT_TRUE(interception.observe()->active);
  EXPECT_TRUE(interception.observe()->confirmed);
}

TEST_F(InterceptionTest, ARefusalOfAnUnconfirmedPlansSuccessorKeepsItsTimer) {
  auto interception = make();
  digest_of(interception.plan({}, 10s));
  kernel_.refuse = Error(Code::kInternal, "HWS-NF-012", "no");
  netfilter::Intent other;
  other.ipv6 = true;
  EXPECT_FALSE(interception.plan(other, 10s));
  loop_.advance(11s);
  EXPECT_FALSE(interception.observe()->active);
}

TEST_F(InterceptionTest, RemoveDrainsUntilTheLastConnectionHasEnded) {
  auto interception = make();
  ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 0s))));
  connections_ = 2;
  int answers = 0;
  interception.remove([&](const Status& status) { answers += status ? 1 : 100; });
  EXPECT_FALSE(kernel_.applied);
  loop_.advance(1s);
  EXPECT_TRUE(kernel_.anchor);
  EXPECT_EQ(answers, 0);
  connections_ = 0;
  loop_.advance(100ms);
  EXPECT_FALSE(kernel_.anchor);
  EXPECT_EQ(answers, 1);
  EXPECT_FALSE(file::exists(options_.plan_path));
}

TEST_F(InterceptionTest, RemoveWaitsNoLongerThanTheDrainTime) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  connections_ = 1;
  int answers = 0;
  interception.remove([&](const Status&) { ++answers; });
  interception.remove([&](const Status&) { ++answers; });
  loop_.advance(6s);
  EXPECT_FALSE(kernel_.anchor);
  EXPECT_EQ(answers, 2);
}

TEST_F(InterceptionTest, RemoveOfNothingAnswersAtOnceEvenWithLingeringSockets) {
  auto interception = make();
  connections_ = 5;
  int answers = 0;
  interception.remove([&](const Status& status) { answers += status ? 1 : 100; });
  EXPECT_EQ(answers, 1);
}

TEST_F(InterceptionTest, APlanDuringTheDrainKeepsTheAnchor) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  connections_ = 1;
  std::string answer;
  interception.remove([&](const Status& status) { answer = status ? "ok" : status.error().id(); });
  digest_of(interception.plan({}, 0s));
  EXPECT_EQ(answer, "HWS-BR-014");
  loop_.advance(10s);
  EXPECT_TRUE(kernel_.anchor);
  EXPECT_TRUE(kernel_.applied);
}

TEST_F(InterceptionTest, StopTakesTheRulesAndLeavesTheAnchorToOpenConnections) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  connections_ = 1;
  interception.stop();
  EXPECT_FALSE(kernel_.applied);
  EXPECT_TRUE(kernel_.anchor);
  connections_ = 0;
  interception.stop();
  EXPECT_FALSE(kernel_.anchor);
}

TEST_F(InterceptionTest, KeptRulesStayWhenTheBrokerStops) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  interception.stop(Interception::Rules::kKept);
  EXPECT_TRUE(kernel_.applied);
  EXPECT_TRUE(kernel_.anchor);
}

TEST_F(InterceptionTest, TooLongATimeToConfirmIsRefused) {
  auto interception = make();
  EXPECT_FALSE(interception.plan({}, 2h));
}

}  // namespace
}  // namespace hawser::broker
