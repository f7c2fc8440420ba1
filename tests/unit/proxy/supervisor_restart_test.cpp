// SPDX-License-Identifier: Apache-2.0
#include "supervisor_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

ProbeResult live_as(unsigned epoch) {
  ProbeResult out = fake::live_probe();
  out.epoch = epoch;
  return out;
}

struct SupervisorRestartTest : ReplacingTest {
  SupervisorRestartTest() { driver.seen_of.emplace("f1e1", fake::down()); }
  // f1e0 has become f1e1, and drains.
  void restart_done() {
    start_live();
    restart();
    driver.seen_of["f1e1"] = live_as(1);
    loop.advance(milliseconds(100));
    ASSERT_EQ(result_id(), "ok");
  }
  void end_old() {
    host.finish(0, "f1e0");
    loop.advance(seconds(7));
  }
};

TEST_F(SupervisorRestartTest, TheNextGenerationTakesOverAndTheOldOneIsOnlyReaped) {
  start_live();
  restart();
  EXPECT_EQ(state(), "HANDING_OVER");
  EXPECT_TRUE(supervisor->live());
  EXPECT_TRUE(has_metric("hawser_proxy_live 1"));
  driver.seen_of["f1e1"] = live_as(1);
  loop.advance(milliseconds(100));
  ASSERT_EQ(result_id(), "ok");
  EXPECT_EQ(results.back()->old_pid, 101);
  EXPECT_EQ(results.back()->generation, "f1e1");
  EXPECT_EQ(results.back()->pid, 102);
  EXPECT_THAT(told, ElementsAre("replaced f1e1 102"));
  EXPECT_EQ(supervisor->status().generation, "f1e1");
  EXPECT_EQ(state(), "LIVE");
  EXPECT_TRUE(has_metric("hawser_proxy_transitions_total{to=\"LIVE\"} 2"));
  EXPECT_TRUE(has_metric("hawser_proxy_restarts_total{result=\"ok\"} 1"));
  end_old();
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  EXPECT_EQ(host.generations.size(), 1U);
  EXPECT_TRUE(has_metric("hawser_proxy_exits_total{status=\"exit 0\"} 1"));
  EXPECT_EQ(item().state, HealthState::kOk);
}

TEST_F(SupervisorRestartTest, WhatFollowsTheProxyFollowsTheNewOne) {
  restart_done();
  std::string text;
  supervisor->scrape([&](const Result<std::string>& result) { text = *result; });
  EXPECT_EQ(text, "scrape of f1e1");
  end_old();
  host.calls.clear();
  stop(seconds(1));
  loop.advance(seconds(2));
  EXPECT_THAT(host.calls, ElementsAre("signal f1e1 15", "reap f1e1"));
  EXPECT_EQ(stopped.size(), 1U);
}

TEST_F(SupervisorRestartTest, OneAtATime) {
  start_live();
  restart();
  restart();
  EXPECT_EQ(result_id(), "HWS-PX-020");
  driver.seen_of["f1e1"] = live_as(1);
  loop.advance(milliseconds(100));
  EXPECT_EQ(result_id(), "ok");
  restart();  // f1e0 drains still
  EXPECT_EQ(result_id(), "HWS-PX-021");
  EXPECT_TRUE(has_metric("hawser_proxy_restarts_total{result=\"refused\"} 2"));
  end_old();
  driver.seen_of.emplace("f1e2", live_as(2));
  restart();
  loop.advance(milliseconds(100));
  EXPECT_EQ(result_id(), "ok");
  EXPECT_EQ(supervisor->status().generation, "f1e2");
}

TEST_F(SupervisorRestartTest, IsRefusedWithoutAProxyOrWithoutRoom) {
  restart();
  EXPECT_EQ(result_id(), "HWS-PX-021");
  room = MemoryRoom{100, 100};
  start_live();
  restart();
  EXPECT_EQ(result_id(), "HWS-PX-023");
  EXPECT_EQ(state(), "LIVE");
  EXPECT_THAT(told, IsEmpty());
}

TEST_F(SupervisorRestartTest, IsRefusedWhileNobodyKnowsWhatANewOneWouldServe) {
  std::string unprepared = "nothing is known";
  options.unprepared = [&unprepared] { return unprepared; };
  make();
  follow();
  start_live();
  restart();
  EXPECT_EQ(result_id(), "HWS-PX-045");
  EXPECT_EQ(results.back().error().message(), unprepared);
  EXPECT_THAT(host.calls, IsEmpty());
  unprepared.clear();
  restart();
  EXPECT_EQ(state(), "HANDING_OVER");
}

TEST_F(SupervisorRestartTest, AFailedOneIsKilledNeverTerminatedAndTheOldOneServesOn) {
  start_live();
  restart();
  loop.advance(seconds(40));
  EXPECT_EQ(result_id(), "HWS-PX-024");
  EXPECT_THAT(host.calls, Contains("signal f1e1 9"));
  EXPECT_THAT(host.calls, Not(Contains("signal f1e1 15")));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal f1e0"))));
  EXPECT_THAT(told, IsEmpty());
  EXPECT_EQ(supervisor->status().pid, 101);
  EXPECT_EQ(state(), "LIVE");
  EXPECT_TRUE(has_metric("hawser_proxy_restarts_total{result=\"failed\"} 1"));
  EXPECT_TRUE(has_metric("hawser_proxy_exits_total{status=\"SIGKILL\"} 1")) << metrics.text();
  EXPECT_EQ(item().state, HealthState::kOk);
}

TEST_F(SupervisorRestartTest, AnOldOneThatHasGivenUpItsAdminInterfaceIsToldOfAndKept) {
  start_live();
  restart();
  driver.seen = fake::down();
  loop.advance(seconds(40));
  EXPECT_EQ(result_id(), "HWS-PX-024");
  EXPECT_EQ(state(), "LIVE");
  EXPECT_EQ(item_id(), "HWS-PX-025");
  EXPECT_THAT(told, IsEmpty());
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal f1e0"))));
}

// Own programs use it; the port that callers came to is closed on purpose.
TEST_F(SupervisorRestartTest, ADrainedOneThatHasGivenUpItsAdminInterfaceIsKeptToo) {
  start_live();
  supervisor->expect_drained(101);
  std::erase_if(driver.kernel, [](const Listener& each) { return each.port == 15006; });
  restart();
  driver.seen = fake::down();
  loop.advance(seconds(40));
  EXPECT_EQ(result_id(), "HWS-PX-024");
  EXPECT_EQ(state(), "LIVE");
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal f1e0"))));
}

TEST_F(SupervisorRestartTest, AnOldOneThatHasGivenUpItsAdminInterfaceIsStartedColdWhereThatIsAllowed) {
  cold_allowed = true;
  make();
  follow();
  start_live();
  restart();
  driver.seen = fake::down();
  loop.advance(seconds(35));
  EXPECT_EQ(result_id(), "HWS-PX-024");
  EXPECT_THAT(host.calls, Contains("signal f1e0 15"));
  driver.seen = fake::live_probe();
  watcher.tell(101);
  loop.advance(seconds(1));
  EXPECT_EQ(supervisor->status().generation, "f2e0");
  EXPECT_THAT(told, ElementsAre("replaced f2e0 103"));
}

TEST_F(SupervisorRestartTest, AnOldOneThatHasClosedItsSocketsIsStartedCold) {
  start_live();
  restart();
  driver.seen = fake::down();
  driver.kernel.clear();
  loop.advance(seconds(32));
  driver.seen = fake::live_probe();
  loop.advance(seconds(5));
  EXPECT_THAT(host.calls, Contains("signal f1e0 9"));
  EXPECT_THAT(told, ElementsAre(StartsWith("down"), "live f1e0 103"));
}

TEST_F(SupervisorRestartTest, AnOldOneThatEndsMeanwhileIsFollowedByAColdStart) {
  start_live();
  restart();
  host.finish(SIGSEGV, "f1e0");
  watcher.tell(101);
  loop.advance(seconds(5));
  EXPECT_EQ(result_id(), "HWS-PX-026");
  EXPECT_THAT(host.calls, Contains("signal f1e1 9"));
  EXPECT_THAT(told, ElementsAre(StartsWith("down"), "live f1e0 103"));
}

// It holds the family's names, and accepts nothing: only a cold start helps, and only once it's gone.
TEST_F(SupervisorRestartTest, WhenTheNewOneDiesTheDrainingOneMakesWayForAColdStart) {
  restart_done();
  told.clear();
  host.finish(SIGABRT, "f1e1");
  watcher.tell(102);
  loop.advance(seconds(10));
  EXPECT_THAT(host.calls, Contains("signal f1e0 9"));
  EXPECT_THAT(told, ElementsAre(StartsWith("down"), "live f1e0 103"));
}

TEST_F(SupervisorRestartTest, AnOldOneThatHangsBeforeTheNewOneIsLiveIsKilledWithItAndFollowedByAColdStart) {
  options.wedge_after = seconds(3);
  make();
  follow();
  start_live();
  driver.seen_of.emplace("f1e1", fake::down("no socket"));
  driver.data_path = Error(Code::kDeadlineExceeded, "HWS-PX-041", "no answer in 2 s", "");
  restart();
  loop.advance(seconds(4));
  EXPECT_EQ(result_id(), "HWS-PX-040");
  EXPECT_THAT(host.calls, testing::IsSupersetOf({"signal f1e1 9", "signal f1e0 9"}));
  EXPECT_THAT(told, testing::Contains("live f1e0 103"));
  EXPECT_TRUE(has_metric("hawser_proxy_crashes_total{cause=\"wedged\"} 1"));
}

TEST_F(SupervisorRestartTest, StoppedInTheMiddleItKillsTheNewOneAndDrainsTheOldOne) {
  start_live();
  restart();
  stop(seconds(1));
  loop.advance(seconds(3));
  EXPECT_EQ(result_id(), "HWS-PX-027");
  EXPECT_EQ(stopped.size(), 1U);
  EXPECT_TRUE(host.generations.empty());
  EXPECT_THAT(host.calls, Contains("signal f1e1 9"));
  EXPECT_THAT(host.calls, Contains("signal f1e0 15"));
  EXPECT_EQ(driver.drains, 1);
}

TEST_F(SupervisorRestartTest, StoppedWhileTheOldOneDrainsBothEnd) {
  restart_done();
  stop(seconds(1));
  loop.advance(seconds(10));
  EXPECT_EQ(stopped.size(), 1U);
  EXPECT_TRUE(host.generations.empty());
}

TEST_F(SupervisorRestartTest, DestroyedInTheMiddleItTouchesNothing) {
  start_live();
  restart();
  supervisor.reset();
  host.calls.clear();
  loop.advance(seconds(60));
  EXPECT_THAT(host.calls, IsEmpty());
  EXPECT_EQ(host.generations.size(), 2U);
}

// ---- a crash of hawserd in the middle

struct SupervisorAdoptionTest : SupervisorRestartTest {
  SupervisorAdoptionTest() {
    host.generations = {{"f1e0", 100, true, 0, "old", {}}, {"f1e1", 101, true, 0, "new", {}}};
    host.last_pid = 101;
    driver.seen = fake::down();
  }
};

TEST_F(SupervisorAdoptionTest, TheNewestIsTakenOnceItIsLiveAndTheOldOneIsLeftToEnd) {
  driver.seen_of["f1e1"] = fake::early_probe(ProxyState::kInitializing);
  start();
  loop.advance(seconds(5));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  driver.seen_of["f1e1"] = live_as(1);
  loop.advance(seconds(1));
  EXPECT_THAT(told, ElementsAre("live f1e1 101"));
  EXPECT_TRUE(supervisor->status().adopted);
  end_old();
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  EXPECT_EQ(host.generations.size(), 1U);
  EXPECT_EQ(told.size(), 1U);
}

TEST_F(SupervisorAdoptionTest, OneThatDoesntGetLiveIsKilledAndTheOldOneServesByItsSockets) {
  start();
  loop.advance(seconds(29));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  loop.advance(seconds(8));
  EXPECT_THAT(host.calls, Contains("signal f1e1 9"));
  EXPECT_THAT(host.calls, Not(Contains("signal f1e1 15")));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal f1e0"))));
  EXPECT_THAT(told, ElementsAre("live f1e0 100"));
  EXPECT_EQ(item_id(), "HWS-PX-025");
  EXPECT_EQ(supervisor->status().listeners.size(), 2U);
}

TEST_F(SupervisorAdoptionTest, StoppedBeforeItIsLiveOnlyTheOldOneIsDrained) {
  start();
  stop(seconds(1));
  loop.advance(seconds(10));
  EXPECT_EQ(stopped.size(), 1U);
  EXPECT_TRUE(host.generations.empty());
  EXPECT_THAT(host.calls, Contains("signal f1e1 9"));
  EXPECT_THAT(host.calls, Not(Contains("signal f1e1 15")));
}

TEST_F(SupervisorAdoptionTest, OneThatEndedIsReapedAside) {
  host.generations.back().running = false;
  driver.seen = fake::live_probe();
  start();
  EXPECT_THAT(told, ElementsAre("live f1e0 100"));
  loop.advance(seconds(1));
  EXPECT_THAT(host.calls, Contains("reap f1e1"));
  EXPECT_EQ(host.generations.size(), 1U);
}

}  // namespace
}  // namespace hawser::proxy
