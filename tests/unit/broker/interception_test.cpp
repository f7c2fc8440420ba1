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
    anchor = true;
    return {};
  }
  Result<netfilter::Observation> observe() override {
    netfilter::Observation out;
    out.rules = applied.has_value();
    out.anchor = anchor;
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
             [this](std::uint16_t, std::uint16_t) { return Result<std::size_t>(connections_); }},
            options_};
  }

  static std::string digest_of(const Result<Interception::Applied>& applied) {
    EXPECT_TRUE(applied) << applied.error().to_string();
    return applied ? applied->digest : std::string();
  }

  TemporaryFolder folder_;
  FakeLoop loop_;
  FakeKernel kernel_;
  Interception::Options options_;
  bool probe_passes_ = true;
  std::size_t connections_ = 0;
};

TEST_F(InterceptionTest, TheBrokerExemptsAgentAndProxyByItself) {
  auto interception = make();
  digest_of(interception.plan({}, 0s));
  bool users = false;
  for (const auto& rule : kernel_.applied->rules)
    users = users || rule.match.uids == std::vector<std::uint32_t>{881, 882};
  EXPECT_TRUE(users);
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
  EXPECT_FALSE(interception.plan({}, 10s));
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

TEST_F(InterceptionTest, AStoredPlanIsReadButNotApplied) {
  {
    auto interception = make();
    ASSERT_TRUE(interception.confirm(digest_of(interception.plan({}, 0s))));
  }
  kernel_.applied.reset();
  auto successor = make();
  ASSERT_TRUE(successor.load());
  EXPECT_FALSE(kernel_.applied);
  EXPECT_FALSE(successor.observe()->active);
}

TEST_F(InterceptionTest, ADamagedStoredPlanIsNamed) {
  folder_.write("plan.pb", "\xff\xff\xff");
  auto interception = make();
  EXPECT_EQ(interception.load().error().id(), "HWS-BR-015");
  int answers = 0;
  interception.remove([&](const Status& status) { answers += status ? 1 : 100; });
  EXPECT_EQ(answers, 1);
}

TEST_F(InterceptionTest, TooLongATimeToConfirmIsRefused) {
  auto interception = make();
  EXPECT_FALSE(interception.plan({}, 2h));
}

}  // namespace
}  // namespace hawser::broker
