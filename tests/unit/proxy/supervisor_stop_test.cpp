// SPDX-License-Identifier: Apache-2.0
#include "supervisor_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

struct SupervisorStopTest : SupervisorTest {};

TEST_F(SupervisorStopTest, AnIdleProxyIsGoneWithinATenthOfASecond) {
  start_live();
  stop(seconds(30));
  EXPECT_EQ(driver.drains, 1);
  loop.advance(milliseconds(100));
  ASSERT_EQ(stopped.size(), 1U);
  EXPECT_TRUE(stopped.front().has_value());
  EXPECT_THAT(host.calls, ElementsAre("signal f1e0 15", "reap f1e0"));
  EXPECT_EQ(state(), "STOPPED");
  EXPECT_TRUE(has_metric("hawser_proxy_live 0"));
  EXPECT_TRUE(has_metric("hawser_proxy_exits_total{status=\"exit 0\"} 1"));
  EXPECT_THAT(told, IsEmpty());
}

TEST_F(SupervisorStopTest, WaitsForConnectionsButNotForEver) {
  start_live();
  driver.connections = std::uint64_t{3};
  stop(seconds(5));
  loop.advance(milliseconds(4900));
  EXPECT_EQ(state(), "DRAINING");
  EXPECT_THAT(host.calls, IsEmpty());
  loop.advance(milliseconds(200));
  EXPECT_EQ(stopped.size(), 1U);
}

TEST_F(SupervisorStopTest, EndsAsSoonAsTheLastConnectionIsGone) {
  start_live();
  driver.connections = std::uint64_t{1};
  stop(seconds(60));
  loop.advance(seconds(3));
  EXPECT_TRUE(stopped.empty());
  driver.connections = std::uint64_t{0};
  loop.advance(milliseconds(150));
  EXPECT_EQ(stopped.size(), 1U);
}

TEST_F(SupervisorStopTest, ASecondStopMayShortenTheDrainAndBothAreAnswered) {
  start_live();
  driver.connections = std::uint64_t{1};
  stop(seconds(600));
  stop(seconds(1));
  loop.advance(milliseconds(1100));
  EXPECT_EQ(stopped.size(), 2U);
}

TEST_F(SupervisorStopTest, WithoutADrainTimeItEndsAtOnce) {
  start_live();
  stop(seconds(0));
  EXPECT_EQ(driver.drains, 0);
  EXPECT_EQ(stopped.size(), 1U);
}

TEST_F(SupervisorStopTest, AMuteAdminInterfaceDoesNotHoldItUp) {
  start_live();
  driver.drain_result = Status(fake::down());
  stop(seconds(60));
  EXPECT_EQ(stopped.size(), 1U);
}

TEST_F(SupervisorStopTest, KillsWhatIgnoresSigterm) {
  start_live();
  host.term_works = false;
  stop(seconds(0));
  loop.advance(milliseconds(5100));
  EXPECT_THAT(host.calls, ElementsAre("signal f1e0 15", "reap f1e0", "signal f1e0 9", "reap f1e0"));
  ASSERT_EQ(stopped.size(), 1U);
  EXPECT_TRUE(stopped.front().has_value());
  EXPECT_TRUE(has_metric("hawser_proxy_exits_total{status=\"SIGKILL\"} 1"));
}

TEST_F(SupervisorStopTest, SaysSoWhenNothingEndsIt) {
  start_live();
  host.term_works = host.kill_works = false;
  stop(seconds(0));
  loop.advance(seconds(11));
  ASSERT_EQ(stopped.size(), 1U);
  ASSERT_FALSE(stopped.front().has_value());
  EXPECT_EQ(stopped.front().error().id(), "HWS-PX-007");
  host.kill_works = true;
  stop(seconds(0));
  loop.advance(seconds(6));
  ASSERT_EQ(stopped.size(), 2U);
  EXPECT_TRUE(stopped.back().has_value());
}

TEST_F(SupervisorStopTest, BeforeAnyStartItEndsWhatAnEarlierOneLeft) {
  host.generations = {{"f1e0", 77, true, 0, "abc", {}}};
  stop(seconds(0));
  EXPECT_THAT(host.calls, ElementsAre("observe", "signal f1e0 15", "reap f1e0"));
  EXPECT_EQ(stopped.size(), 1U);
}

TEST_F(SupervisorStopTest, WithNothingRunningItIsDoneAtOnce) {
  stop(seconds(30));
  EXPECT_THAT(host.calls, ElementsAre("observe"));
  EXPECT_EQ(stopped.size(), 1U);
  stop(seconds(30));
  EXPECT_EQ(stopped.size(), 2U);
}

TEST_F(SupervisorStopTest, AStopDuringAStartEndsWhatWasStarted) {
  supervisor->start({}, {});
  supervisor->stop(seconds(5), [this](const Status& result) { stopped.push_back(result); });
  loop.run_ready();
  EXPECT_THAT(host.calls, ElementsAre("observe"));
  EXPECT_EQ(stopped.size(), 1U);
}

TEST_F(SupervisorStopTest, AStopDuringBackOffDoesNotStartAnything) {
  start_live();
  die(0);
  stop(seconds(5));
  loop.advance(seconds(30));
  EXPECT_THAT(host.calls, testing::Not(testing::Contains(testing::HasSubstr("start"))));
  EXPECT_EQ(stopped.size(), 1U);
}

TEST_F(SupervisorStopTest, AnAbsentBrokerIsAskedForAWhileThenReported) {
  start_live();
  host.broken = true;
  stop(seconds(0));
  loop.advance(seconds(2));
  EXPECT_TRUE(stopped.empty());
  loop.advance(seconds(10));
  ASSERT_EQ(stopped.size(), 1U);
  EXPECT_EQ(stopped.front().error().id(), "HWS-BR-001");
}

TEST_F(SupervisorStopTest, ABrokerThatComesBackFinishesTheJob) {
  start_live();
  host.broken = true;
  stop(seconds(0));
  loop.advance(seconds(2));
  host.broken = false;
  loop.advance(seconds(1));
  ASSERT_EQ(stopped.size(), 1U);
  EXPECT_TRUE(stopped.front().has_value());
}

TEST_F(SupervisorStopTest, MayBeDestroyedByItsOwnAnswer) {
  start_live();
  bool done = false;
  supervisor->stop(seconds(0), [&](const Status&) {
    supervisor.reset();
    done = true;
  });
  loop.run_ready();
  EXPECT_TRUE(done);
}

TEST_F(SupervisorStopTest, StartsAgainAfterwards) {
  start_live();
  stop(seconds(0));
  start();
  EXPECT_THAT(told, ElementsAre("live f1e0 102"));
}

}  // namespace
}  // namespace hawser::proxy
