// SPDX-License-Identifier: Apache-2.0
#include "xds/answer_watch.h"

#include <gtest/gtest.h>

#include "base/fake_loop.h"
#include "messages.h"
#include "xds/expectation.h"

namespace hawser::xds {
namespace {

using namespace std::chrono_literals;
using Kind = Expectation::Kind;

class AnswerWatchTest : public testing::Test {
 protected:
  void send(Kind kind, const std::string& what = {}) {
    watch.sent({kind, what});
    watch.written();
  }

  FakeLoop loop;
  std::vector<std::string> overdue;
  int consents = 0;
  bool alive = true;
  AnswerWatch watch{
      loop,
      30s,
      3s,
      {[this](const std::string& what) { overdue.push_back(what); }, [this] { return alive; }, [this] { ++consents; }}};
};

TEST_F(AnswerWatchTest, AStreamOfWhichNothingBecomesIsOverdue) {
  watch.opened();
  loop.advance(29s);
  EXPECT_TRUE(overdue.empty());
  loop.advance(1s);
  EXPECT_EQ(overdue.size(), 1u);
}

TEST_F(AnswerWatchTest, SilenceAfterCurrentVersionsIsConsent) {
  watch.opened();
  send(Kind::kMayBeSilent);
  loop.advance(3s);
  EXPECT_EQ(consents, 1);
  loop.advance(10min);
  EXPECT_TRUE(overdue.empty());
}

TEST_F(AnswerWatchTest, APlaneThatHasAlwaysAnsweredIsMuteWhenItDoesnt) {
  for (int stream = 0; stream < 3; ++stream) {
    watch.opened();
    send(Kind::kMayBeSilent);
    watch.answered();
    watch.closed();
  }
  // Insisted on a few times, then taken for a plane without news after all.
  for (int stream = 1; stream <= 3; ++stream) {
    watch.opened();
    send(Kind::kMayBeSilent);
    loop.advance(30s);
    EXPECT_EQ(overdue.size(), static_cast<std::size_t>(stream));
    watch.closed();
  }
  EXPECT_EQ(consents, 0);
  watch.opened();
  send(Kind::kMayBeSilent);
  loop.advance(3s);
  EXPECT_EQ(consents, 1);
}

TEST_F(AnswerWatchTest, OneSilenceEndsTheHabit) {
  for (int stream = 0; stream < 6; ++stream) {
    watch.opened();
    send(Kind::kMayBeSilent);
    if (stream != 2) watch.answered();
    loop.advance(3s);
    watch.closed();
  }
  EXPECT_EQ(consents, 1);
  EXPECT_TRUE(overdue.empty());
}

TEST_F(AnswerWatchTest, SilenceOfADeadConnectionIsNone) {
  watch.opened();
  alive = false;
  send(Kind::kMayBeSilent);
  loop.advance(30s);
  EXPECT_EQ(consents, 0);
  EXPECT_EQ(overdue.size(), 1u);
}

TEST_F(AnswerWatchTest, WhatMustBeAnsweredIsInsistedOnEachTime) {
  for (int stream = 1; stream <= 3; ++stream) {
    watch.opened();
    send(Kind::kMayBeSilent);
    send(Kind::kMustAnswer, "Cluster");
    loop.advance(30s);
    EXPECT_EQ(overdue.size(), static_cast<std::size_t>(stream));
  }
  EXPECT_EQ(consents, 0);
}

TEST_F(AnswerWatchTest, WhatShouldBeAnsweredIsInsistedOnOnce) {
  watch.opened();
  send(Kind::kShouldAnswer, "Endpoint nobody");
  loop.advance(30s);
  ASSERT_EQ(overdue, std::vector<std::string>{"Endpoint nobody"});
  watch.opened();
  send(Kind::kShouldAnswer, "Endpoint nobody");
  loop.advance(10min);
  EXPECT_EQ(overdue.size(), 1u);
  EXPECT_EQ(consents, 1);
}

TEST_F(AnswerWatchTest, ARequestInTheMiddleOfAStreamIsWatchedToo) {
  watch.opened();
  watch.answered();
  loop.advance(1h);
  send(Kind::kShouldAnswer, "Endpoint a");
  loop.advance(20s);
  watch.answered();
  loop.advance(1h);
  EXPECT_TRUE(overdue.empty());
  send(Kind::kShouldAnswer, "Endpoint b");
  loop.advance(30s);
  EXPECT_EQ(overdue, std::vector<std::string>{"Endpoint b"});
}

TEST(Expectation, OfRequests) {
  using test::subscribe;
  EXPECT_EQ(expectation_of(subscribe(kClusterType)).kind, Kind::kMustAnswer);
  auto current = subscribe(kClusterType);
  current.initial_versions["a"] = "";
  EXPECT_EQ(expectation_of(current).kind, Kind::kMayBeSilent);
  auto named = subscribe(kEndpointType, {"a", "b"});
  named.initial_versions["a"] = "1";
  EXPECT_EQ(expectation_of(named).kind, Kind::kShouldAnswer);
  EXPECT_EQ(expectation_of(named).what, "ClusterLoadAssignment b");
  named.initial_versions["b"] = "1";
  EXPECT_EQ(expectation_of(named).kind, Kind::kMayBeSilent);
  auto ack = subscribe(kClusterType);
  ack.nonce = "n";
  EXPECT_EQ(expectation_of(ack).kind, Kind::kNothing);
  EXPECT_EQ(expectation_of(subscribe("type.googleapis.com/envoy.unheard.Of")).kind, Kind::kNothing);
  Request gone;
  gone.type_url = kEndpointType;
  gone.unsubscribe = {"a"};
  EXPECT_EQ(expectation_of(gone).kind, Kind::kNothing);
}

}  // namespace
}  // namespace hawser::xds
