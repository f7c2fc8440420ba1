// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fakes.h"
#include "proxy/replacement.h"

namespace hawser::proxy {
namespace {

using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using testing::StartsWith;

// One that another has taken over from, side by side.
struct RetirementTest : testing::Test {
  RetirementTest() {
    host.generations = {{"f1e0", 100, true, 0, "old", {}}};
    driver.connections = std::uint64_t{1};
  }
  void start() {
    retirement = std::make_unique<Retirement>(loop, host, "f1e0",
                                              Retirement::Farewell{driver, seconds(5), seconds(60), seconds(5)},
                                              [this](std::optional<int> status) { ended.push_back(status); });
    retirement->start();
    loop.run_ready();
  }

  FakeLoop loop;
  fake::Host host{loop};
  fake::Driver driver;
  std::unique_ptr<Retirement> retirement;
  std::vector<std::optional<int>> ended;
};

TEST_F(RetirementTest, IsNotEndedBeforeItHasStoppedAcceptingAndIsIdle) {
  start();
  EXPECT_THAT(driver.drained, ElementsAre("f1e0"));
  driver.connections = std::uint64_t{0};
  loop.advance(seconds(5));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  loop.advance(seconds(3));
  EXPECT_THAT(host.calls, Contains("signal f1e0 15"));
  EXPECT_THAT(ended, ElementsAre(std::optional<int>(0)));
  EXPECT_TRUE(host.generations.empty());
}

TEST_F(RetirementTest, OpenConnectionsHaveTheirTimeAndNoMore) {
  start();
  loop.advance(seconds(58));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  loop.advance(seconds(5));
  EXPECT_THAT(host.calls, Contains("signal f1e0 15"));
  EXPECT_EQ(ended.size(), 1U);
}

TEST_F(RetirementTest, OneThatEndsByItselfIsReapedAtOnce) {
  start();
  host.finish(SIGSEGV, "f1e0");
  loop.advance(seconds(8));
  EXPECT_THAT(ended, ElementsAre(std::optional<int>(SIGSEGV)));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
}

TEST_F(RetirementTest, OneThatDoesntEndWhenAskedIsKilled) {
  driver.connections = std::uint64_t{0};
  host.term_works = false;
  start();
  loop.advance(seconds(20));
  EXPECT_THAT(host.calls, Contains("signal f1e0 9"));
  EXPECT_EQ(ended.size(), 1U);
}

// It may hang, with a share of the new connections: they mustn't wait for as long as open ones may last.
TEST_F(RetirementTest, OneThatCantBeAskedToDrainIsEndedAfterADrain) {
  driver.drain_result = Status(fake::down());
  driver.connections = fake::down();
  start();
  loop.advance(seconds(7));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  loop.advance(seconds(2));
  EXPECT_THAT(host.calls, Contains("signal f1e0 15"));
  EXPECT_EQ(ended.size(), 1U);
}

TEST_F(RetirementTest, AHostThatIsAwayIsAskedAgain) {
  driver.connections = std::uint64_t{0};
  host.broken = true;
  start();
  loop.advance(seconds(30));
  EXPECT_TRUE(ended.empty());
  host.broken = false;
  loop.advance(seconds(10));
  EXPECT_EQ(ended.size(), 1U);
}

TEST_F(RetirementTest, ByHotRestartItIsOnlyWaitedFor) {
  retirement =
      std::make_unique<Retirement>(loop, host, "f1e0", [this](std::optional<int> status) { ended.push_back(status); });
  retirement->start();
  loop.advance(seconds(120));
  EXPECT_TRUE(driver.drained.empty());
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  host.finish(0, "f1e0");
  loop.advance(seconds(7));
  EXPECT_EQ(ended.size(), 1U);
}

}  // namespace
}  // namespace hawser::proxy
