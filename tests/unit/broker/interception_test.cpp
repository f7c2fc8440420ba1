// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/interception.h"

#include <gtest/gtest.h>

#include "base/fake_loop.h"
#include "base/file.h"
#include "temporary_folder.h"

namespace hawser::broker {
namespace {

using namespace std::chrono_literals;

// Keeps the plan in memory and can refuse.
class FakeKernel final : public netfilter::Backend {
 public:
  const char* name() const override { return "fake"; }
  Status apply(const netfilter::Plan& plan) override {
    if (refuse) return *refuse;
    applied = plan;
    anchor = !somebody_takes_it;
    ++transactions;
    return {};
  }
  Result<netfilter::Observation> observe() override {
    if (blind_looks > 0 && --blind_looks == 0)
      return Error(Code::kInternal, "HWS-NF-012", "the rules changed meanwhile");
    netfilter::Observation out;
    out.rules = applied.has_value();
    out.anchor = anchor;
    out.routing = routing;
    if (applied) out.listing.digest = applied->digest;
    return out;
  }
  Status remove_rules() override {
    applied.reset();
    return {};
  }
  Status remove_anchor() override {
    anchor = false;
    return {};
  }

  std::optional<netfilter::Plan> applied;
  bool anchor = false;
  bool routing = false;
  bool somebody_takes_it = false;  // the anchor, as soon as it is there
  int transactions = 0;
  int blind_looks = 0;  // at which look from now on it can't see
  std::optional<Error> refuse;
};

class InterceptionTest : public testing::Test {
 protected:
  InterceptionTest() {
    options_.plan_path = folder_ / "plan.pb";
    options_.exempt_uids = {881, 882};
    options_.exempt_gids = {881, 882};
  }

  Interception make() {
    return {loop_,
            kernel_,
            {[] { return netfilter::Guard{}; },
             [this](netfilter::Backend&, const netfilter::Plan&) {
               return std::vector<netfilter::ProbeResult>{{"out4", probe_passes_, "because"}};
             },
             [this](std::uint16_t, std::uint16_t) { return Result<std::size_t>(connections_); },
             [](std::uint16_t) { return Result<bool>(true); },
             [this](const netfilter::Plan&) { return forget_unanswered(); }},
            options_};
  }

  // What a broker that was killed leaves in the kernel and on disk.
  std::string left_behind(std::chrono::seconds confirm, bool confirmed) {
    auto predecessor = make();
    std::string digest = digest_of(predecessor.plan({}, confirm));
    if (confirmed) {
      EXPECT_TRUE(predecessor.confirm(digest));
    }
    return digest;
  }

  PlanRecord recorded() const {
    auto record = PlanRecord::load(options_.plan_path);
    EXPECT_TRUE(record);
    return record ? *record : PlanRecord();
  }

  static std::string digest_of(const Result<Interception::Applied>& applied) {
    EXPECT_TRUE(applied) << applied.error().to_string();
    return applied ? applied->digest : std::string();
  }

  Result<std::size_t> forget_unanswered() {
    if (tracking_fails_) return Error(Code::kInternal, "HWS-NF-015", "no tracking");
    EXPECT_TRUE(kernel_.applied) << "the rules have to be there first";
    ++forgotten_;
    return std::size_t{1};
  }

  TemporaryFolder folder_;
  FakeLoop loop_;
  FakeKernel kernel_;
  Interception::Options options_;
  bool probe_passes_ = true;
  std::size_t connections_ = 0;
  int forgotten_ = 0;
  bool tracking_fails_ = false;
};

TEST_F(InterceptionTest, TheBrokerExemptsAgentAndProxyByItself) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  bool users = false;
  for (const auto& rule : kernel_.applied->rules)
    users = users || rule.match.uids == std::vector<std::uint32_t>{881, 882};
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

TEST_F(InterceptionTest, TooLongATimeToConfirmIsRefused) {
  auto interception = make();
  EXPECT_FALSE(interception.plan({}, 2h));
}

}  // namespace
}  // namespace hawser::broker
