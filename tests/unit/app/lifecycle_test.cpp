// SPDX-License-Identifier: Apache-2.0
#include "lifecycle.h"

#include <gtest/gtest.h>

#include "base/fake_loop.h"

namespace hawser {
namespace {

using namespace std::chrono_literals;

class LifecycleTest : public testing::Test {
 protected:
  FakeLoop loop_;
  Metrics metrics_;
  Lifecycle life_{loop_, metrics_};
};

TEST_F(LifecycleTest, RecordsWhenEachEventWasReached) {
  life_.reach(Event::kConfigured);
  loop_.advance(40ms);
  life_.reach(Event::kPreflightOk);
  const auto history = life_.history();
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[1].event, Event::kPreflightOk);
  EXPECT_EQ(history[1].since_start, 40ms);
  EXPECT_NE(metrics_.text().find("hawser_lifecycle_event_seconds{event=\"PREFLIGHT_OK\"} 0.04"), std::string::npos);
}

TEST_F(LifecycleTest, LosingAnEventLosesAllLaterOnes) {
  for (const Event event : {Event::kConfigured, Event::kPreflightOk, Event::kIdentityReady}) life_.reach(event);
  life_.lose(Event::kPreflightOk, "test");
  EXPECT_EQ(*life_.last(), Event::kConfigured);
  EXPECT_FALSE(life_.reached(Event::kIdentityReady));
}

TEST_F(LifecycleTest, APassedOverEventMakesWayButDoesntHold) {
  for (const Event event : {Event::kConfigured, Event::kPreflightOk, Event::kIdentityReady}) life_.reach(event);
  int told = 0;
  life_.wait(Event::kControlPlaneConnected, 1h, [&](bool reached) { told += reached ? 1 : 0; });
  life_.pass_over(Event::kControlPlaneConnected, "the last good configuration is served");
  EXPECT_FALSE(life_.reached(Event::kControlPlaneConnected));
  EXPECT_EQ(*life_.last(), Event::kIdentityReady);
  EXPECT_EQ(life_.history().back().passed_over, "the last good configuration is served");
  EXPECT_EQ(told, 0);
  EXPECT_EQ(metrics_.text().find("event=\"CONTROL_PLANE_CONNECTED\""), std::string::npos);

  loop_.advance(1s);
  life_.reach(Event::kProxyReady);
  EXPECT_EQ(*life_.last(), Event::kProxyReady);
  loop_.advance(1s);
  life_.reach(Event::kControlPlaneConnected);
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(life_.reached(Event::kProxyReady)) << "the later ones stay";
  const auto history = life_.history();
  ASSERT_EQ(history.size(), 5U);
  EXPECT_EQ(history[3].event, Event::kControlPlaneConnected);
  EXPECT_EQ(history[3].since_start, 2s);
  EXPECT_TRUE(history[3].passed_over.empty());
  life_.pass_over(Event::kControlPlaneConnected, "too late");
  EXPECT_TRUE(life_.reached(Event::kControlPlaneConnected));
}

TEST_F(LifecycleTest, LosingAnEventLosesWhatWasPassedOverAfterIt) {
  for (const Event event : {Event::kConfigured, Event::kPreflightOk, Event::kIdentityReady}) life_.reach(event);
  life_.pass_over(Event::kControlPlaneConnected, "test");
  life_.lose(Event::kIdentityReady, "test");
  EXPECT_EQ(life_.history().size(), 2U);
}

TEST_F(LifecycleTest, AWaiterIsToldOnceEitherWay) {
  std::vector<bool> told;
  life_.wait(Event::kConfigured, 1s, [&](bool reached) { told.push_back(reached); });
  life_.wait(Event::kPreflightOk, 1s, [&](bool reached) { told.push_back(reached); });
  life_.reach(Event::kConfigured);
  loop_.advance(2s);
  life_.reach(Event::kPreflightOk);
  EXPECT_EQ(told, (std::vector<bool>{true, false}));
}

TEST_F(LifecycleTest, WaitersAreBounded) {
  int refused = 0;
  for (int i = 0; i < 100; ++i) life_.wait(Event::kRegistered, 1h, [&](bool reached) { refused += reached ? 0 : 1; });
  EXPECT_EQ(refused, 36);
}

TEST_F(LifecycleTest, NamesGoBothWays) {
  EXPECT_EQ(*event_of("INTERCEPTING"), Event::kIntercepting);
  EXPECT_EQ(event_name(Event::kRegistered), "REGISTERED");
  EXPECT_FALSE(event_of("registered"));
}

}  // namespace
}  // namespace hawser
