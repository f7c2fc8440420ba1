// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/guardian.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/fake_loop.h"

namespace hawser::broker {
namespace {

using namespace std::chrono_literals;
using State = Guardian::State;

class GuardianTest : public testing::Test {
 protected:
  GuardianTest()
      : guardian_(loop_, {},
                  {[this] { return guarded_; }, [this] { return running_; }, [this] { return bound_; },
                   [this](std::function<void(Status)> done) {
                     ++cold_starts_;
                     if (start_answers_) {
                       running_ = static_cast<bool>(*start_answers_);
                       done(*start_answers_);
                     }
                   },
                   [this] {
                     ++restores_;
                     return restore_;
                   },
                   [this] {
                     ++policies_;
                     return policy_;
                   }}) {}

  State state() const { return guardian_.view().state; }
  // hawserd lives and renews for so long.
  void renewed_for(std::chrono::seconds time) {
    for (auto left = time; left > 0s; left -= 1s) {
      guardian_.renew();
      loop_.advance(1s);
    }
  }
  static Status failed() { return Error(Code::kInternal, "HWS-BR-020", "no"); }

  FakeLoop loop_;
  bool guarded_ = true;
  bool running_ = false;
  bool bound_ = false;
  std::optional<Status> start_answers_ = Status();
  Status restore_;
  Status policy_;
  int cold_starts_ = 0;
  int restores_ = 0;
  int policies_ = 0;
  Guardian guardian_;
};

TEST_F(GuardianTest, ActsTenSecondsAfterTheLastSignOfLife) {
  guardian_.start();
  running_ = true;
  renewed_for(60s);
  running_ = false;
  loop_.advance(8s);
  EXPECT_EQ(cold_starts_, 0);
  loop_.advance(2s);
  EXPECT_EQ(cold_starts_, 1);
  EXPECT_EQ(state(), State::kBinding);
}

TEST_F(GuardianTest, ALiveLeaseOrALiveProxyIsEnough) {
  guardian_.start();
  renewed_for(60s);
  EXPECT_EQ(cold_starts_, 0);
  running_ = true;
  loop_.advance(1h);
  EXPECT_EQ(cold_starts_, 0);
  EXPECT_FALSE(guardian_.view().lease_alive);
  running_ = false;
  loop_.advance(9s);
  EXPECT_EQ(cold_starts_, 0);
  loop_.advance(2s);
  EXPECT_EQ(cold_starts_, 1);
}

TEST_F(GuardianTest, WithoutConfirmedInterceptionNothingIsDone) {
  guarded_ = false;
  guardian_.start();
  loop_.advance(1h);
  EXPECT_EQ(cold_starts_ + policies_, 0);
  EXPECT_EQ(state(), State::kIdle);
}

TEST_F(GuardianTest, AtBootItWaitsForHawserdFirst) {
  guardian_.start();
  loop_.advance(9s);
  EXPECT_EQ(cold_starts_, 0);
  renewed_for(30s);
  EXPECT_EQ(cold_starts_, 0);
}

TEST_F(GuardianTest, BoundListenersThatPassTheirProbeEndTheOutage) {
  guardian_.start();
  loop_.advance(12s);
  ASSERT_EQ(state(), State::kBinding);
  loop_.advance(5s);
  EXPECT_EQ(restores_, 0);
  bound_ = true;
  loop_.advance(1s);
  EXPECT_EQ(restores_, 1);
  EXPECT_EQ(state(), State::kWatching);
  EXPECT_EQ(policies_, 0);
}

TEST_F(GuardianTest, ListenersThatStayAwayLeadToThePolicyOnce) {
  guardian_.start();
  loop_.advance(11s);
  loop_.advance(18s);
  EXPECT_EQ(policies_, 0);
  loop_.advance(3s);
  EXPECT_EQ(policies_, 1);
  EXPECT_EQ(state(), State::kPolicy);
  EXPECT_NE(guardian_.view().detail.find("HWS-BR-052"), std::string::npos);
  loop_.advance(1h);
  EXPECT_EQ(policies_, 1);
  EXPECT_EQ(cold_starts_, 1);
}

TEST_F(GuardianTest, AProbeThatFailsIsTriedUntilTheTimeIsUp) {
  guardian_.start();
  restore_ = failed();
  bound_ = true;
  loop_.advance(15s);
  EXPECT_GT(restores_, 1);
  EXPECT_EQ(policies_, 0);
  loop_.advance(20s);
  EXPECT_EQ(policies_, 1);
}

TEST_F(GuardianTest, AStartThatFailsOrHangsLeadsToThePolicy) {
  guardian_.start();
  start_answers_ = failed();
  loop_.advance(11s);
  EXPECT_EQ(policies_, 1);
}

TEST_F(GuardianTest, AStartThatNeverAnswersLeadsToThePolicy) {
  guardian_.start();
  start_answers_.reset();
  loop_.advance(12s);
  EXPECT_EQ(state(), State::kStarting);
  loop_.advance(21s);
  EXPECT_EQ(policies_, 1);
}

TEST_F(GuardianTest, AProxyThatEndsAtOnceIsNotWaitedFor) {
  guardian_.start();
  loop_.advance(11s);
  running_ = false;
  loop_.advance(2s);
  EXPECT_EQ(policies_, 1);
  EXPECT_EQ(cold_starts_, 1);
}

TEST_F(GuardianTest, HawserdTakesOverFromAnyState) {
  guardian_.start();
  loop_.advance(11s);
  ASSERT_EQ(state(), State::kBinding);
  renewed_for(60s);
  EXPECT_EQ(policies_, 0);
  running_ = false;
  loop_.advance(60s);
  EXPECT_EQ(cold_starts_, 2) << "another outage, another start";
  EXPECT_EQ(policies_, 1);
  guardian_.renew();
  EXPECT_EQ(state(), State::kWatching);
}

TEST_F(GuardianTest, AfterAReleaseTheProxyMayLiveButIsNotStartedAgain) {
  guardian_.start();
  running_ = true;
  renewed_for(10s);
  guardian_.release();
  EXPECT_FALSE(guardian_.view().lease_alive);
  loop_.advance(1h);
  EXPECT_EQ(policies_, 0);
  running_ = false;
  loop_.advance(11s);
  EXPECT_EQ(policies_, 1);
  EXPECT_EQ(cold_starts_, 0);
}

TEST_F(GuardianTest, AProxyThatComesLateIsUsedWithoutHawserdToo) {
  guardian_.start();
  loop_.advance(40s);
  ASSERT_EQ(state(), State::kPolicy);
  bound_ = true;
  loop_.advance(21s);
  EXPECT_EQ(restores_, 1);
  EXPECT_EQ(state(), State::kWatching);
}

TEST_F(GuardianTest, AProxyThatComesLateAndFailsItsProbeIsTriedSeldom) {
  guardian_.start();
  loop_.advance(40s);
  restore_ = failed();
  bound_ = true;
  loop_.advance(100s);
  EXPECT_LE(restores_, 5);
  EXPECT_EQ(policies_, 1 + restores_) << "what a failed restore withdrew is in force again";
}

TEST_F(GuardianTest, ASuccessorKeepsThePolicy) {
  guardian_.start(true);
  loop_.advance(1h);
  EXPECT_EQ(cold_starts_, 0);
  EXPECT_EQ(state(), State::kPolicy);
}

TEST_F(GuardianTest, RemoveEndsItsCare) {
  guardian_.start();
  loop_.advance(11s);
  guarded_ = false;
  loop_.advance(60s);
  EXPECT_EQ(policies_, 0);
  EXPECT_EQ(state(), State::kIdle);
}

TEST_F(GuardianTest, APolicyThatCannotBeAppliedIsShown) {
  guardian_.start();
  start_answers_ = failed();
  policy_ = Error(Code::kInternal, "HWS-NF-012", "refused");
  loop_.advance(11s);
  EXPECT_NE(guardian_.view().detail.find("HWS-NF-012"), std::string::npos);
}

}  // namespace
}  // namespace hawser::broker
