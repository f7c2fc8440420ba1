// SPDX-License-Identifier: Apache-2.0
#include "lease.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/fake_loop.h"
#include "hawser/broker.pb.h"

namespace hawser {
namespace {

using namespace std::chrono_literals;
namespace v1 = broker::v1;

class LeaseTest : public testing::Test {
 protected:
  struct Asked {
    v1::Request request;
    std::chrono::milliseconds timeout;
    Lease::Answer answer;
  };

  Error away() const { return {Code::kUnavailable, "HWS-BR-001", "can't reach the broker"}; }

  FakeLoop loop_;
  std::vector<Asked> asked_;
  std::unique_ptr<Lease> lease_ = std::make_unique<Lease>(
      loop_, [this](const v1::Request& request, std::chrono::milliseconds timeout, Lease::Answer answer) {
        asked_.push_back({request, timeout, std::move(answer)});
      });
};

TEST_F(LeaseTest, IsRenewedEveryThreeSecondsWhetherAnsweredOrNot) {
  lease_->start();
  ASSERT_EQ(asked_.size(), 1U);
  EXPECT_TRUE(asked_[0].request.has_lease());
  EXPECT_FALSE(asked_[0].request.lease().release());
  asked_[0].answer(v1::Response());
  loop_.advance(3s);
  ASSERT_EQ(asked_.size(), 2U);
  asked_[1].answer(away());
  loop_.advance(9s);  // without any answer
  EXPECT_EQ(asked_.size(), 5U);
}

TEST_F(LeaseTest, ReleaseEndsTheRenewalsAndIsAnsweredEvenWithoutABroker) {
  lease_->start();
  bool released = false;
  lease_->release([&] { released = true; });
  ASSERT_EQ(asked_.size(), 2U);
  EXPECT_TRUE(asked_[1].request.lease().release());
  EXPECT_LE(asked_[1].timeout, 300ms);  // a stop doesn't wait for longer
  asked_[1].answer(away());
  EXPECT_TRUE(released);
  loop_.advance(1min);
  EXPECT_EQ(asked_.size(), 2U);
}

TEST_F(LeaseTest, ALateAnswerFindsNobody) {
  lease_->start();
  lease_.reset();
  asked_[0].answer(away());
  loop_.advance(1min);
  EXPECT_EQ(asked_.size(), 1U);
}

}  // namespace
}  // namespace hawser
