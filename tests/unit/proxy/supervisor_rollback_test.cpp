// SPDX-License-Identifier: Apache-2.0
// Another binary that fails: what is started next, and what is put aside.
#include <algorithm>

#include "supervisor_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

struct RollbackTest : ReplacingTest {
  RollbackTest() {
    driver.inspection = Inspection{"", "11.104", 1, "", true};
    options.history = &history;
    make();
    follow();
  }
  ~RollbackTest() override { supervisor.reset(); }  // before the history

  // "new" was installed; "5ha" serves.
  void upgrade(HandOverKind kind) {
    start_live();
    host.stored.current_sha256 = "new";
    restart({kind, true, false, ""});
    loop.advance(milliseconds(200));
  }
  // By a planned cold start, up to where "new" should get LIVE.
  void upgrade_cold() {
    driver.seen_of.insert_or_assign("f2e0", fake::down("not yet"));
    upgrade(HandOverKind::kPlannedCold);
    watcher.tell(101);
    loop.advance(milliseconds(200));
  }
  void new_one_ends() {
    host.finish(SIGSEGV, "f2e0");
    watcher.tell(102);
    loop.advance(seconds(1));
  }
  // It can't be started either, for a while.
  void until_the_way_back_waits() {
    upgrade_cold();
    new_one_ends();
    ASSERT_EQ(host.started_binary, "5ha");
    host.start_error.assign(3, fake::down("out of memory"));
    die(SIGSEGV);
    for (int i = 0; i < 100 && host.start_error.size() == 3; ++i) loop.advance(milliseconds(10));
    ASSERT_EQ(state(), "WAITING");
    host.start_error.clear();
  }
  std::vector<std::string> marks() const {
    std::vector<std::string> out;
    std::copy_if(host.calls.begin(), host.calls.end(), std::back_inserter(out),
                 [](const std::string& call) { return call.starts_with("good") || call.starts_with("quarantine"); });
    return out;
  }
  std::vector<std::string> reasons() const {
    std::vector<std::string> out;
    for (const auto& entry : history.after(0)) out.push_back(entry.reason);
    return out;
  }

  History history{loop};
};

TEST_F(RollbackTest, APlannedColdStartThatFailsIsFollowedByTheBinaryThatServedBefore) {
  upgrade_cold();
  ASSERT_EQ(host.started_binary, "");
  EXPECT_TRUE(has_metric("hawser_proxy_live 0")) << "nobody listens";
  new_one_ends();
  EXPECT_EQ(host.validated_binary, "5ha");
  EXPECT_EQ(host.started_binary, "5ha");
  EXPECT_EQ(state(), "LIVE");
  EXPECT_EQ(supervisor->status().binary_sha256, "5ha");
  ASSERT_EQ(result_id(), "HWS-PX-024");
  EXPECT_THAT(results.back().error().message(),
              AllOf(HasSubstr("its binary new is put aside"), HasSubstr("what served before is started again")));
  EXPECT_THAT(marks(), ElementsAre(StartsWith("good 5ha"), AllOf(StartsWith("quarantine new"), HasSubstr("SIGSEGV"))));
  EXPECT_THAT(reasons(), Contains(HasSubstr("f1e0 made way for f2e0, which failed")));
  EXPECT_EQ(item().state, HealthState::kOk);
  EXPECT_THAT(item().detail, HasSubstr("what served before f2e0, which failed"));
  EXPECT_TRUE(has_metric("hawser_proxy_rollbacks_total{cause=\"hand_over\"} 1"));
  EXPECT_TRUE(has_metric("hawser_proxy_live 1"));
  EXPECT_FALSE(has_metric("hawser_proxy_crashes_total{cause=\"exit\"} 1")) << "its end was asked for";
}

TEST_F(RollbackTest, AnOperatorsChoiceEndsTheWayBack) {
  until_the_way_back_waits();
  restart({std::nullopt, true, false, "f1xed"});
  loop.advance(milliseconds(200));
  ASSERT_EQ(result_id(), "ok");
  EXPECT_EQ(host.validated_binary, "f1xed");
  EXPECT_EQ(host.started_binary, "f1xed");
  EXPECT_THAT(item().detail, Not(HasSubstr("what served before")));
}

// The command that chose it has gone back to what was current before.
TEST_F(RollbackTest, AChoiceThatFailsIsNotTriedAgain) {
  until_the_way_back_waits();
  host.start_error.assign(1, fake::down("out of memory"));
  restart({std::nullopt, true, false, "f1xed"});
  EXPECT_EQ(result_id(), "HWS-PX-006");
  loop.advance(seconds(11));
  EXPECT_EQ(state(), "LIVE");
  EXPECT_EQ(host.started_binary, "");
}

TEST_F(RollbackTest, ARestartByAnOperatorIsOfTheStoresCurrentOneAgain) {
  until_the_way_back_waits();
  restart();
  loop.advance(milliseconds(200));
  ASSERT_EQ(result_id(), "ok");
  EXPECT_EQ(host.started_binary, "");
}

TEST_F(RollbackTest, OneThatIsNotLiveInTimeIsPutAsideToo) {
  upgrade_cold();
  loop.advance(seconds(31));
  EXPECT_EQ(result_id(), "HWS-PX-024");
  EXPECT_EQ(host.started_binary, "5ha");
  EXPECT_THAT(marks(), ElementsAre(StartsWith("good 5ha"), StartsWith("quarantine new")));
}

TEST_F(RollbackTest, AStartThatIsRefusedIsNoFaultOfTheBinary) {
  start_live();
  host.start_error.push_back(Error(Code::kInternal, "HWS-BR-020", "it can't be started"));
  restart({HandOverKind::kPlannedCold, true, false, "new"});
  loop.advance(milliseconds(200));
  watcher.tell(101);
  loop.advance(seconds(1));
  EXPECT_EQ(result_id(), "HWS-BR-020");
  EXPECT_EQ(host.started_binary, "5ha");
  EXPECT_EQ(state(), "LIVE");
  EXPECT_THAT(marks(), IsEmpty());
}

TEST_F(RollbackTest, TheSameBinaryIsNotPutAside) {
  start_live();
  driver.seen_of.insert_or_assign("f2e0", fake::down("not yet"));
  restart({HandOverKind::kPlannedCold, true, false, ""});
  loop.advance(milliseconds(200));
  watcher.tell(101);
  loop.advance(milliseconds(200));
  new_one_ends();
  EXPECT_EQ(state(), "LIVE");
  EXPECT_THAT(marks(), IsEmpty());
}

TEST_F(RollbackTest, AnEarlierOneThatIsRefusedNowMakesWayForTheCurrentOne) {
  upgrade_cold();
  host.validation = Error(Code::kFailedPrecondition, "HWS-BR-030", "no such proxy binary");
  host.finish(SIGSEGV, "f2e0");
  watcher.tell(102);
  loop.run_ready();
  EXPECT_EQ(host.validated_binary, "5ha");
  host.validation = Validation{true, "", "1.40.0"};
  loop.advance(seconds(10));
  EXPECT_EQ(host.validated_binary, "");
  EXPECT_EQ(state(), "LIVE");
}

TEST_F(RollbackTest, ItIsStartedAfterACrashTooUntilAnOperatorDecides) {
  upgrade_cold();
  new_one_ends();
  ASSERT_EQ(state(), "LIVE");
  host.stored.current_sha256 = "other";
  die(SIGSEGV);
  loop.advance(seconds(1));
  EXPECT_EQ(host.started_binary, "5ha");
  driver.seen_of.clear();
  restart({HandOverKind::kSideBySide, true, false, ""});
  loop.advance(seconds(6));
  ASSERT_EQ(result_id(), "ok");
  loop.advance(seconds(70));
  EXPECT_EQ(item().detail.find("failed"), std::string::npos) << item().detail;
  host.finish(SIGSEGV);
  watcher.tell(host.last_pid);
  loop.advance(seconds(1));
  EXPECT_EQ(host.started_binary, "");
}

TEST_F(RollbackTest, WhereTheOldOneServesOnABinaryThatEndsIsPutAsideAndNothingElseHappens) {
  upgrade(HandOverKind::kSideBySide);
  loop.advance(seconds(3));
  new_one_ends();
  EXPECT_EQ(result_id(), "HWS-PX-032");
  EXPECT_THAT(results.back().error().message(), HasSubstr("its binary new is put aside"));
  EXPECT_THAT(marks(), ElementsAre(StartsWith("good 5ha"), StartsWith("quarantine new")));
  EXPECT_EQ(supervisor->status().pid, 101);
  EXPECT_THAT(told, IsEmpty());
}

// By hot restart its parent may be the cause, and what it waits for may be others'.
TEST_F(RollbackTest, OneThatNeverGetsLiveByHotRestartIsNotPutAside) {
  driver.seen_of.insert_or_assign("f1e1", fake::down("not yet"));
  upgrade(HandOverKind::kHotRestart);
  host.finish(1 << 8, "f1e1");
  watcher.tell(102);
  loop.advance(seconds(5));
  EXPECT_EQ(result_id(), "HWS-PX-024");
  EXPECT_THAT(marks(), IsEmpty());
}

// On a young store nothing is known to be good but what served before: it's the way back all the same.
struct YoungStore : RollbackTest {
  void crash_until_given_up() {
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(state(), "LIVE");
      ASSERT_EQ(supervisor->status().binary_sha256, "new") << "end " << i;
      loop.advance(seconds(3));
      const pid_t pid = supervisor->status().pid;
      host.finish(SIGSEGV, supervisor->status().generation);
      watcher.tell(pid);
      loop.advance(seconds(2));
    }
  }
  void expect_back() {
    EXPECT_EQ(state(), "LIVE");
    EXPECT_EQ(supervisor->status().binary_sha256, "5ha");
    EXPECT_THAT(marks(), ElementsAre(StartsWith("good 5ha"), StartsWith("quarantine new")));
    EXPECT_TRUE(has_metric("hawser_proxy_rollbacks_total{cause=\"crashes\"} 1"));
    EXPECT_THAT(item().detail, HasSubstr("the last good one, for new kept ending"));
  }
};

TEST_F(YoungStore, AfterAHotRestart) {
  auto taken_over = fake::live_probe();
  taken_over.epoch = 1;
  driver.seen_of.insert_or_assign("f1e1", taken_over);
  upgrade(HandOverKind::kHotRestart);
  crash_until_given_up();
  expect_back();
}

TEST_F(YoungStore, SideBySide) {
  upgrade(HandOverKind::kSideBySide);
  loop.advance(seconds(6));
  crash_until_given_up();
  expect_back();
}

TEST_F(YoungStore, AfterAPlannedColdStart) {
  upgrade(HandOverKind::kPlannedCold);
  watcher.tell(101);
  loop.advance(milliseconds(200));
  crash_until_given_up();
  expect_back();
}

TEST_F(YoungStore, WhatIsKnownToBeGoodStaysSo) {
  host.stored.last_good_sha256 = "known";
  upgrade(HandOverKind::kSideBySide);
  loop.advance(seconds(6));
  crash_until_given_up();
  EXPECT_THAT(marks(), ElementsAre(StartsWith("quarantine new")));
  EXPECT_EQ(supervisor->status().binary_sha256, "known");
}

}  // namespace
}  // namespace hawser::proxy
