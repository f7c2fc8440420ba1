// SPDX-License-Identifier: Apache-2.0
// Hand-overs side by side, planned cold, and plans, as the supervisor follows them.
#include "supervisor_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

struct SupervisorSideTest : ReplacingTest {
  SupervisorSideTest() { driver.inspection = Inspection{"", "11.104", 1, "", true}; }
  // f2e0 has taken over from f1e0, which drains.
  void replaced() {
    start_live();
    restart();
    loop.advance(seconds(6));
    ASSERT_EQ(result_id(), "ok");
  }
  std::vector<std::string> signals() const {
    std::vector<std::string> out;
    for (const auto& call : host.calls)
      if (call.rfind("signal", 0) == 0) out.push_back(call);
    return out;
  }
};

TEST_F(SupervisorSideTest, BothServeThenTheNewOneIsFollowedAndTheOldOneDrainedAndEnded) {
  start_live();
  restart();
  loop.advance(seconds(3));
  EXPECT_EQ(state(), "HANDING_OVER");
  EXPECT_EQ(supervisor->status().generation, "f1e0");
  EXPECT_THAT(told, IsEmpty());
  loop.advance(seconds(3));
  ASSERT_EQ(result_id(), "ok");
  EXPECT_EQ(results.back()->hand_over, HandOverKind::kSideBySide);
  EXPECT_EQ(results.back()->generation, "f2e0");
  EXPECT_FALSE(results.back()->gates.empty());
  EXPECT_THAT(told, ElementsAre("replaced f2e0 102"));
  EXPECT_EQ(supervisor->status().generation, "f2e0");
  EXPECT_THAT(driver.drained, ElementsAre("f1e0"));
  loop.advance(seconds(15));
  EXPECT_THAT(signals(), ElementsAre("signal f1e0 15"));
  EXPECT_EQ(host.generations.size(), 1U);
  EXPECT_EQ(told.size(), 1U);
  EXPECT_TRUE(has_metric("hawser_proxy_hand_overs_total{hand_over=\"side-by-side\"} 1"));
  EXPECT_TRUE(has_metric("hawser_proxy_gates_total{gate=\"canary\",result=\"passed\"} 1"));
}

TEST_F(SupervisorSideTest, TheFamiliesTakeTurns) {
  replaced();
  loop.advance(seconds(15));
  restart();
  loop.advance(seconds(6));
  EXPECT_EQ(result_id(), "ok");
  EXPECT_EQ(supervisor->status().generation, "f1e0");
}

TEST_F(SupervisorSideTest, EveryGateIsKeptWithItsReason) {
  History history(loop);
  Supervisor::Options kept;
  kept.bootstrap = [](const std::string& generation) { return "{" + generation + "}"; };
  kept.room = [](const std::string&, pid_t) { return std::nullopt; };
  kept.queues_move = [] { return true; };
  kept.history = &history;
  supervisor = std::make_unique<Supervisor>(loop, host, driver, watcher, kept, health, metrics);
  start_live();
  restart();
  loop.advance(seconds(6));
  std::vector<std::string> names;
  for (const auto& entry : history.after(0)) {
    if (entry.kind != History::Entry::Kind::kGate) continue;
    names.push_back(entry.name + (entry.passed ? "" : "!"));
    EXPECT_FALSE(entry.reason.empty()) << entry.name;
  }
  EXPECT_THAT(names, ElementsAre("predecessor", "ready", "shareable", "memory", "validate", "launched", "live", "epoch",
                                 "listeners", "certificates", "workers", "canary"));
  supervisor.reset();
}

TEST_F(SupervisorSideTest, CalledOffInTheWindowTheOldOneServesOn) {
  start_live();
  EXPECT_EQ(supervisor->call_off().error().id(), "HWS-PX-034");
  restart();
  loop.advance(seconds(3));
  EXPECT_TRUE(supervisor->call_off());
  loop.advance(seconds(10));
  EXPECT_EQ(result_id(), "HWS-PX-027");
  EXPECT_EQ(supervisor->status().generation, "f1e0");
  EXPECT_EQ(state(), "LIVE");
  EXPECT_THAT(driver.drained, ElementsAre("f2e0"));
  EXPECT_THAT(signals(), ElementsAre("signal f2e0 15"));
  EXPECT_THAT(told, IsEmpty());
}

TEST_F(SupervisorSideTest, WhenTheNewOneDiesInTheWindowTheOldOneServesOnAndCanHandOverAgain) {
  start_live();
  restart();
  loop.advance(seconds(3));
  host.finish(SIGSEGV, "f2e0");
  watcher.tell(102);
  loop.advance(seconds(1));
  EXPECT_EQ(result_id(), "HWS-PX-032");
  EXPECT_THAT(signals(), IsEmpty());
  EXPECT_THAT(told, IsEmpty());
  restart();
  loop.advance(seconds(6));
  EXPECT_EQ(result_id(), "ok");
}

// Nothing was handed over yet: what runs is found and taken.
TEST_F(SupervisorSideTest, WhenTheOldOneDiesWhileTheNewOneWarmsUpTheNewOneIsTaken) {
  start_live();
  driver.seen_of.emplace("f2e0", fake::early_probe(ProxyState::kInitializing));
  restart();
  loop.advance(seconds(1));
  host.finish(SIGSEGV, "f1e0");
  watcher.tell(101);
  driver.seen_of.erase("f2e0");
  loop.advance(seconds(2));
  EXPECT_EQ(result_id(), "HWS-PX-026");
  EXPECT_THAT(told, ElementsAre(StartsWith("down"), "live f2e0 102"));
  EXPECT_THAT(signals(), IsEmpty());
}

TEST_F(SupervisorSideTest, WhenTheOldOneDiesInTheWindowNothingIsDown) {
  start_live();
  restart();
  loop.advance(seconds(3));
  host.finish(SIGSEGV, "f1e0");
  watcher.tell(101);
  loop.advance(seconds(8));
  EXPECT_EQ(result_id(), "ok");
  EXPECT_THAT(told, ElementsAre("replaced f2e0 102"));
  EXPECT_EQ(host.generations.size(), 1U);
}

TEST_F(SupervisorSideTest, StoppedInTheWindowBothEnd) {
  start_live();
  restart();
  loop.advance(seconds(3));
  stop(seconds(1));
  loop.advance(seconds(20));
  EXPECT_EQ(stopped.size(), 1U);
  EXPECT_TRUE(host.generations.empty());
}

TEST_F(SupervisorSideTest, StoppedWhileTheOldOneDrainsBothEnd) {
  replaced();
  stop(seconds(1));
  loop.advance(seconds(20));
  EXPECT_EQ(stopped.size(), 1U);
  EXPECT_TRUE(host.generations.empty());
}

// ---- the new one ends while the old one drains

TEST_F(SupervisorSideTest, TheOldOneDrainsOnWhileAnotherStartsBesideIt) {
  driver.connections = std::uint64_t{1};
  replaced();
  for (const pid_t pid : {102, 103}) {
    host.finish(SIGSEGV, "f2e0");
    watcher.tell(pid);
    loop.advance(seconds(5));
    EXPECT_THAT(host.calls, Contains(StartsWith("start f2e0")));
    EXPECT_EQ(supervisor->status().pid, pid + 1);
    EXPECT_EQ(state(), "LIVE");
    EXPECT_EQ(host.generations.size(), 2U);
  }
  EXPECT_THAT(signals(), IsEmpty());
  driver.connections = std::uint64_t{0};
  loop.advance(seconds(15));
  EXPECT_THAT(signals(), ElementsAre("signal f1e0 15"));
  EXPECT_EQ(host.generations.size(), 1U);
}

TEST_F(SupervisorSideTest, WhenBothHaveEndedThereIsOneCrashAndOneColdStart) {
  driver.connections = std::uint64_t{1};
  replaced();
  host.finish(0, "f1e0");
  host.finish(SIGSEGV, "f2e0");
  watcher.tell(102);
  loop.advance(seconds(10));
  EXPECT_EQ(state(), "LIVE");
  EXPECT_EQ(host.generations.size(), 1U);
  EXPECT_TRUE(has_metric("hawser_proxy_crashes_total{cause=\"signal\"} 1"));
  EXPECT_FALSE(has_metric("hawser_proxy_crashes_total{cause=\"exit\"} 1"));
}

TEST_F(SupervisorSideTest, WherePortsCannotBeSharedTheOldOneIsEndedForTheNextOne) {
  driver.connections = std::uint64_t{1};
  replaced();
  driver.seen_of.emplace("f2e0", fake::live_probe({}));
  host.finish(SIGSEGV, "f2e0");
  watcher.tell(102);
  loop.advance(seconds(2));
  EXPECT_THAT(signals(), IsEmpty());
  loop.advance(seconds(3));
  EXPECT_THAT(signals(), ElementsAre("signal f2e0 15", "signal f1e0 9"));
  EXPECT_EQ(supervisor->status().generation, "f1e0");
  EXPECT_EQ(state(), "LIVE");
  loop.advance(seconds(70));
  EXPECT_EQ(signals().size(), 2U) << "who saw the earlier f1e0 off has nothing to do with the later one";
  EXPECT_THAT(driver.drained, ElementsAre("f1e0"));
}

TEST_F(SupervisorSideTest, APlanChangesNothing) {
  start_live();
  restart({std::nullopt, true, true, ""});
  ASSERT_EQ(result_id(), "ok");
  EXPECT_TRUE(results.back()->plan);
  EXPECT_FALSE(results.back()->refusal);
  EXPECT_EQ(results.back()->hand_over, HandOverKind::kSideBySide);
  EXPECT_EQ(state(), "LIVE");
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("start"))));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("signal"))));
  EXPECT_FALSE(has_metric("hawser_proxy_restarts_total{result=\"ok\"} 1"));
}

TEST_F(SupervisorSideTest, APlanTellsWhatStandsAgainstIt) {
  start_live();
  room = MemoryRoom{1, 100};
  restart({std::nullopt, true, true, ""});
  ASSERT_EQ(result_id(), "ok");
  EXPECT_EQ(results.back()->refusal->id(), "HWS-PX-023");
}

TEST_F(SupervisorSideTest, TheBinaryThatIsAskedForIsStarted) {
  start_live();
  restart({std::nullopt, true, false, "d1ge57"});
  loop.advance(seconds(6));
  EXPECT_EQ(result_id(), "ok");
  EXPECT_EQ(host.validated_binary, "d1ge57");
  EXPECT_EQ(host.started_binary, "d1ge57");
}

// ---- planned cold

TEST_F(SupervisorSideTest, APlannedColdStartEndsTheOldOneFirst) {
  start_live();
  restart({HandOverKind::kPlannedCold, true, false, ""});
  loop.advance(milliseconds(200));
  EXPECT_THAT(signals(), ElementsAre("signal f1e0 15"));
  EXPECT_THAT(driver.drained, ElementsAre("f1e0 accepting"));
  EXPECT_THAT(host.calls, Not(Contains(StartsWith("start"))));
  watcher.tell(101);
  loop.advance(milliseconds(200));
  ASSERT_EQ(result_id(), "ok");
  EXPECT_TRUE(results.back()->refused);
  EXPECT_THAT(told, ElementsAre("replaced f2e0 102"));
  loop.advance(seconds(7));
  EXPECT_EQ(host.generations.size(), 1U);
}

TEST_F(SupervisorSideTest, APlannedColdStartThatFailsIsFollowedByAnother) {
  start_live();
  driver.seen_of.emplace("f2e0", fake::down());
  restart({HandOverKind::kPlannedCold, true, false, ""});
  loop.advance(milliseconds(200));
  watcher.tell(101);
  loop.advance(seconds(40));
  EXPECT_EQ(result_id(), "HWS-PX-024");
  EXPECT_THAT(told, ElementsAre(StartsWith("down"), "live f1e0 103"));
}

// ---- a crash of hawserd in the middle

struct SideAdoptionTest : SupervisorSideTest {
  SideAdoptionTest() {
    // The names are in the wrong order: the start says which is newer.
    host.generations = {{"f1e0", 101, true, 0, "new", Loop::Wall(seconds(200))},
                        {"f2e7", 100, true, 0, "old", Loop::Wall(seconds(100))}};
    host.last_pid = 101;
    driver.seen = fake::live_probe();
  }
};

TEST_F(SideAdoptionTest, TheNewerByItsStartIsTakenAndTheOlderDrainedAndEnded) {
  start();
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
  EXPECT_THAT(driver.drained, ElementsAre("f2e7"));
  loop.advance(seconds(15));
  EXPECT_THAT(signals(), ElementsAre("signal f2e7 15"));
  EXPECT_EQ(host.generations.size(), 1U);
}

TEST_F(SideAdoptionTest, OfTwoStartedInTheSameSecondTheSameOneIsAlwaysTaken) {
  for (auto& generation : host.generations) generation.started_at = Loop::Wall(seconds(100));
  std::swap(host.generations[0], host.generations[1]);
  start();
  EXPECT_THAT(told, ElementsAre("live f1e0 101"));
}

TEST_F(SideAdoptionTest, ANewerOneThatIsNotLiveInTimeIsKilledAndTheOlderServesAsEver) {
  driver.seen_of.emplace("f1e0", fake::early_probe(ProxyState::kInitializing));
  start();
  loop.advance(seconds(29));
  EXPECT_THAT(signals(), IsEmpty());
  loop.advance(seconds(8));
  EXPECT_THAT(signals(), ElementsAre("signal f1e0 9"));
  EXPECT_THAT(told, ElementsAre("live f2e7 100"));
  EXPECT_EQ(item().state, HealthState::kOk);
}

// By hot restart that would be an outage; here the older one has all that this one lacks.
TEST_F(SideAdoptionTest, ANewerOneThatIsLiveWithoutItsListenersIsKilledToo) {
  driver.seen_of.emplace("f1e0", fake::live_probe({15001}));
  start();
  loop.advance(seconds(40));
  EXPECT_THAT(signals(), ElementsAre("signal f1e0 9"));
  EXPECT_THAT(told, ElementsAre("live f2e7 100"));
}

}  // namespace
}  // namespace hawser::proxy
