// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/drift.h"

#include <gtest/gtest.h>

#include "base/fake_loop.h"

namespace hawser::broker {
namespace {

using namespace std::chrono_literals;

class DriftTest : public testing::Test {
 protected:
  Drift make() {
    return {loop_,
            {},
            {[this] { return Result<std::string>(kernel_); },
             [this]() -> Status {
               ++attempts_;
               if (refuse_) return Error(Code::kInternal, "HWS-NF-012", "no");
               kernel_ = "good";
               drift_->expect(kernel_);
               return {};
             }}};
  }

  static netfilter::Change by(const std::string& program, const std::string& table, std::uint32_t port = 7) {
    return {port, program, {table}, false};
  }

  FakeLoop loop_;
  std::string kernel_ = "good";
  int attempts_ = 0;
  bool refuse_ = false;
  Drift made_ = make();
  Drift* drift_ = &made_;
};

TEST_F(DriftTest, AnEventIsFollowedByALookAndARepairWithinTwoSeconds) {
  drift_->expect("good");
  kernel_ = "edited";
  drift_->heard({by("nft", "hawser_anchor")}, 1);
  loop_.advance(100ms);
  EXPECT_EQ(kernel_, "good");
  EXPECT_EQ(drift_->view().found, 1U);
  EXPECT_EQ(drift_->view().healed, 1U);
  EXPECT_EQ(drift_->view().program, "nft");
}

TEST_F(DriftTest, WithoutEventsItIsFoundByLooking) {
  drift_->expect("good");
  kernel_ = "";
  loop_.advance(30s);
  EXPECT_EQ(kernel_, "good");
}

TEST_F(DriftTest, OurOwnTransactionsAndOthersTablesAreNoReasonToLook) {
  drift_->expect("good");
  kernel_ = "edited";
  drift_->heard({by("hawser-broker", "hawser", 1), by("dockerd", "nat")}, 1);
  loop_.advance(1s);
  EXPECT_EQ(attempts_, 0);
}

TEST_F(DriftTest, LostEventsAreAReasonToLook) {
  drift_->expect("good");
  kernel_ = "edited";
  netfilter::Change lost;
  lost.lost = true;
  drift_->heard({lost}, 1);
  loop_.advance(1s);
  EXPECT_EQ(attempts_, 1);
}

TEST_F(DriftTest, AStreamOfEventsDoesNotPutTheLookOff) {
  drift_->expect("good");
  kernel_ = "edited";
  for (int i = 0; i < 10; ++i) {
    drift_->heard({by("nft", "hawser")}, 1);
    loop_.advance(10ms);
  }
  EXPECT_EQ(attempts_, 1);
}

TEST_F(DriftTest, WhoFightsUsIsGivenWayTo) {
  drift_->expect("good");
  for (int i = 0; i < 6000; ++i) {  // ten minutes
    kernel_ = "edited";
    drift_->heard({by("fighter", "hawser")}, 1);
    loop_.advance(100ms);
  }
  EXPECT_GE(attempts_, 10);
  EXPECT_LE(attempts_, 25) << "that would be spinning";
  EXPECT_TRUE(drift_->view().backing_off);
  EXPECT_EQ(drift_->view().program, "fighter");
  kernel_ = "edited";
  loop_.advance(61s);
  EXPECT_EQ(kernel_, "good") << "it never gives up";
  loop_.advance(10min);
  EXPECT_FALSE(drift_->view().backing_off) << "it's over";
  kernel_ = "edited";
  drift_->heard({by("nft", "hawser")}, 1);
  loop_.advance(100ms);
  EXPECT_EQ(kernel_, "good") << "and is forgotten";
}

TEST_F(DriftTest, WhatCannotBeHealedIsTriedAgainWithPatience) {
  drift_->expect("good");
  kernel_ = "gone";
  refuse_ = true;
  loop_.advance(10min);
  EXPECT_GE(attempts_, 8);
  EXPECT_LE(attempts_, 25);
  EXPECT_EQ(drift_->view().found, 1U) << "it's one change";
  refuse_ = false;
  loop_.advance(61s);
  EXPECT_EQ(kernel_, "good");
}

TEST_F(DriftTest, WithNothingInForceNobodyLooks) {
  drift_->expect("good");
  drift_->rest();
  kernel_ = "edited";
  drift_->heard({by("nft", "hawser")}, 1);
  loop_.advance(1min);
  EXPECT_EQ(attempts_, 0);
  EXPECT_EQ(loop_.pending_timers(), 0U);
}

TEST(Shape, CountersAreNoPartOfIt) {
  netfilter::Observation before;
  before.text = "counter c {\n\tpackets 1 bytes 60\n}\nrule counter packets 12 bytes 720 return\n";
  netfilter::Observation after;
  after.text = "counter c {\n\tpackets 9 bytes 99\n}\nrule counter packets 13 bytes 780 return\n";
  EXPECT_EQ(shape_of(before), shape_of(after));
  after.text += "another rule\n";
  EXPECT_NE(shape_of(before), shape_of(after));
}

TEST(Shape, ADifferenceNamesLines) {
  EXPECT_EQ(difference("a rule\nanother\n}\n", "another\nsome new\n"), "gone: a rule; new: some new");
  EXPECT_EQ(difference("a1\na2\na3\na4\na5\n", ""), "gone: a1 | a2 | a3 | and 2 more");
}

}  // namespace
}  // namespace hawser::broker
