// SPDX-License-Identifier: Apache-2.0
#include "renewal_waiters.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/fake_loop.h"

namespace hawser {
namespace {

using namespace std::chrono_literals;

class RenewalWaitersTest : public testing::Test {
 protected:
  RenewalWaiters::Done note() {
    return [this](const Status& status) { answers_.push_back(status ? "ok" : status.error().id()); };
  }

  FakeLoop loop_;
  bool in_force_ = false;
  std::vector<std::string> answers_;
  RenewalWaiters waiters_{loop_, [this] { return in_force_; }};
};

TEST_F(RenewalWaitersTest, TwoAtOnceAreBothAnsweredAsSoonAsItIsInForce) {
  waiters_.wait(note());
  loop_.advance(20ms);
  waiters_.wait(note());
  loop_.advance(100ms);
  EXPECT_TRUE(answers_.empty());
  in_force_ = true;
  loop_.advance(10ms);
  EXPECT_EQ(answers_, (std::vector<std::string>{"ok", "ok"}));
  EXPECT_EQ(loop_.pending_timers(), 0U);
}

TEST_F(RenewalWaitersTest, EachHasItsOwnDeadline) {
  waiters_.wait(note());
  loop_.advance(3s);
  waiters_.wait(note());
  loop_.advance(2100ms);
  EXPECT_EQ(answers_, (std::vector<std::string>{"HWS-MB-005"}));
  in_force_ = true;
  loop_.advance(10ms);
  EXPECT_EQ(answers_, (std::vector<std::string>{"HWS-MB-005", "ok"}));
}

TEST_F(RenewalWaitersTest, WhereItIsInForceAlreadyNobodyWaits) {
  in_force_ = true;
  waiters_.wait(note());
  EXPECT_EQ(answers_, (std::vector<std::string>{"ok"}));
}

TEST_F(RenewalWaitersTest, AreBounded) {
  for (std::size_t i = 0; i < RenewalWaiters::kMax; ++i) waiters_.wait(note());
  waiters_.wait(note());
  EXPECT_EQ(answers_, (std::vector<std::string>{"HWS-AP-050"}));
}

TEST_F(RenewalWaitersTest, ClosingAnswersAll) {
  waiters_.wait(note());
  waiters_.close();
  EXPECT_EQ(answers_, (std::vector<std::string>{"ok"}));
  loop_.advance(1min);
  EXPECT_EQ(answers_.size(), 1U);
}

}  // namespace
}  // namespace hawser
