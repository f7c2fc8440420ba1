// SPDX-License-Identifier: Apache-2.0
// A proxy that hangs, a binary that keeps ending, a predecessor that is lost.
#include <algorithm>
#include <csignal>

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

Status silent() {
  return Error(Code::kDeadlineExceeded, "HWS-PX-041", "no answer in time");
}

TEST_F(SupervisorTest, OneThatNeitherAnswersNorServesIsKilledOnceAndStartedAnew) {
  start_live();
  driver.seen = fake::down("no answer");
  driver.data_path = silent();
  loop.advance(milliseconds(9900));
  EXPECT_THAT(host.calls, Not(Contains(HasSubstr("signal")))) << "a pause isn't a wedge yet";
  loop.advance(milliseconds(1100));
  EXPECT_THAT(host.calls, Contains("signal f1e0 9"));
  ASSERT_THAT(told, ElementsAre(HasSubstr("wedged")));
  EXPECT_TRUE(has_metric("hawser_proxy_crashes_total{cause=\"wedged\"} 1"));
  driver.seen = fake::live_probe();
  driver.data_path = {};
  loop.advance(seconds(60));
  EXPECT_THAT(told, ElementsAre(HasSubstr("wedged"), "live f1e0 102"));
  EXPECT_EQ(host.last_pid, 102) << "one cold start";
}

TEST_F(SupervisorTest, OneThatTheKernelEndedAtItsLimitIsToldApart) {
  start_live();
  host.out_of_memory = true;
  host.finish(SIGKILL);
  watcher.tell(101);
  loop.run_ready();
  EXPECT_TRUE(has_metric("hawser_proxy_crashes_total{cause=\"out_of_memory\"} 1"));
  EXPECT_THAT(item().detail, HasSubstr("f1e0 ended (out of memory)"));
  ASSERT_TRUE(item().error);
  EXPECT_THAT(item().error->hint(), HasSubstr("HAWSER_PROXY_MEMORY_MAX"));
}

TEST_F(SupervisorTest, AMuteAdminInterfaceAloneIsNoReasonToKill) {
  start_live();
  driver.seen = fake::down("no answer");
  loop.advance(seconds(120));
  EXPECT_THAT(host.calls, Not(Contains(HasSubstr("signal"))));
  EXPECT_THAT(told, IsEmpty());
  EXPECT_EQ(item().state, HealthState::kDegraded);
  EXPECT_GT(driver.data_probes, 50);
}

TEST_F(SupervisorTest, ADataPathThatCannotBeTriedIsNoReasonToKill) {
  start_live();
  driver.seen = fake::down("no answer");
  driver.data_path = Error(Code::kInternal, "HWS-PX-041", "too many open files");
  loop.advance(seconds(120));
  EXPECT_THAT(host.calls, Not(Contains(HasSubstr("signal"))));
}

TEST_F(SupervisorTest, ASignOfLifeBeginsTheTimeAnew) {
  start_live();
  for (int round = 0; round < 5; ++round) {
    driver.seen = fake::down("no answer");
    driver.data_path = silent();
    loop.advance(seconds(8));
    driver.data_path = {};
    loop.advance(seconds(2));
  }
  EXPECT_THAT(host.calls, Not(Contains(HasSubstr("signal"))));
}

TEST_F(SupervisorTest, WedgesAreNotLookedForWhenTheTimeIsZero) {
  options.wedge_after = milliseconds(0);
  make();
  start_live();
  driver.seen = fake::down("no answer");
  driver.data_path = silent();
  loop.advance(seconds(120));
  EXPECT_EQ(driver.data_probes, 0);
  EXPECT_THAT(host.calls, Not(Contains(HasSubstr("signal"))));
}

TEST_F(SupervisorTest, OneThatHangsInItsStartIsStartedAnewToo) {
  start();
  loop.advance(seconds(29));
  EXPECT_THAT(host.calls, Not(Contains(HasSubstr("signal"))));
  loop.advance(seconds(2));
  EXPECT_THAT(host.calls, Contains("signal f1e0 9"));
  driver.seen = fake::live_probe();
  loop.advance(seconds(1));
  EXPECT_THAT(told, ElementsAre("live f1e0 102"));
}

struct StartNowTest : ReplacingTest {
  // It keeps ending, until the pause before the next start is one of seconds.
  void until_a_long_pause() {
    start_live();
    host.start_error.assign(100, fake::down("out of memory"));
    die(SIGSEGV);
    for (int i = 0; i < 1000 && !has_pause_over(3); ++i) loop.advance(milliseconds(100));
    ASSERT_TRUE(has_pause_over(3));
    host.calls.clear();
  }
  bool has_pause_over(double limit) const {
    const std::string text = metrics.text(), name = "\nhawser_proxy_backoff_seconds ";
    const auto at = text.find(name);
    return at != std::string::npos && std::stod(text.substr(at + name.size())) > limit;
  }
};

TEST_F(StartNowTest, AnOperatorNeedNotWaitForThePause) {
  until_a_long_pause();
  told.clear();
  host.start_error.clear();
  restart();
  loop.advance(milliseconds(100));
  ASSERT_EQ(result_id(), "ok");
  EXPECT_EQ(results.back()->old_generation, "");
  EXPECT_EQ(results.back()->generation, "f1e0");
  EXPECT_EQ(results.back()->version, "1.40.0");
  EXPECT_THAT(told, ElementsAre("live f1e0 102"));
}

TEST_F(StartNowTest, OneThatIsFoundRunningIsNotTheOneThatWasAskedFor) {
  until_a_long_pause();
  host.start_error.clear();
  host.generations = {{"f1e0", 77, true, 0, "5ha", {}}};  // that the start failed was an error of the broker's
  restart({std::nullopt, true, false, "f1xed"});
  loop.advance(milliseconds(100));
  EXPECT_EQ(result_id(), "HWS-PX-021");
  EXPECT_EQ(supervisor->status().pid, 77);
  EXPECT_EQ(state(), "LIVE");
}

TEST_F(StartNowTest, WhatFailsAgainIsToldAndThePauseGoesOn) {
  until_a_long_pause();
  restart();
  EXPECT_EQ(result_id(), "HWS-PX-006");
  EXPECT_THAT(results.back().error().message(), HasSubstr("out of memory"));
  EXPECT_EQ(state(), "WAITING");
}

TEST_F(StartNowTest, OneThatIsNotLiveInTimeIsToldAndWaitedFor) {
  until_a_long_pause();
  host.start_error.clear();
  driver.seen = fake::early_probe(ProxyState::kPreInitializing);
  restart();
  EXPECT_EQ(result_id(), "none");
  loop.advance(seconds(31));
  EXPECT_EQ(result_id(), "HWS-PX-004");
  EXPECT_EQ(state(), "WARMING");
}

TEST_F(StartNowTest, OneThatIsStoppedMeanwhileIsTold) {
  until_a_long_pause();
  host.start_error.clear();
  driver.seen = fake::early_probe(ProxyState::kPreInitializing);
  restart();
  stop(seconds(0));
  EXPECT_EQ(result_id(), "HWS-PX-006");
  EXPECT_THAT(results.back().error().message(), HasSubstr("stopped"));
}

TEST_F(StartNowTest, WithoutAnOldOneThereIsNoHotRestartAndNothingToPlan) {
  until_a_long_pause();
  HandOverRequest request;
  request.kind = HandOverKind::kHotRestart;
  restart(request);
  EXPECT_EQ(result_id(), "HWS-PX-021");
  request.kind.reset();
  request.plan = true;
  restart(request);
  EXPECT_EQ(result_id(), "HWS-PX-021");
  EXPECT_THAT(host.calls, testing::IsEmpty());
}

struct GivingUp : SupervisorTest {
  // LIVE for so long, then an end, and LIVE again.
  void live_then_die(seconds lives, int status = SIGSEGV) {
    loop.advance(lives);
    die(status);
    until_live();
  }
  void until_live() {
    for (int i = 0; i < 200 && state() != "LIVE"; ++i) loop.advance(milliseconds(100));
    ASSERT_EQ(state(), "LIVE");
  }
  std::vector<std::string> marks(const std::string& kind) const {
    std::vector<std::string> out;
    std::copy_if(host.calls.begin(), host.calls.end(), std::back_inserter(out),
                 [&kind](const std::string& call) { return call.starts_with(kind); });
    return out;
  }
};

TEST_F(GivingUp, ABinaryThatEndsThreeTimesSoonAfterLiveIsGivenUpForTheLastGoodOne) {
  start_live();
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(marks("quarantine"), IsEmpty());
    live_then_die(seconds(3));
  }
  ASSERT_EQ(marks("quarantine").size(), 1U);
  EXPECT_THAT(marks("quarantine").front(), HasSubstr("5ha 3 ends in"));
  EXPECT_THAT(marks("quarantine").front(), HasSubstr("SIGSEGV"));
  EXPECT_TRUE(has_metric("hawser_proxy_crashes_total{cause=\"signal\"} 3"));
}

TEST_F(GivingUp, FiveEndsInFiveMinutesAreEnoughHoweverLongEachLived) {
  start_live();
  for (int i = 0; i < 4; ++i) live_then_die(seconds(40));
  EXPECT_THAT(marks("quarantine"), IsEmpty());
  live_then_die(seconds(40));
  EXPECT_EQ(marks("quarantine").size(), 1U);
}

TEST_F(GivingUp, EndsThatAreFarApartAreNoSeries) {
  start_live();
  for (int i = 0; i < 10; ++i) live_then_die(seconds(90));
  EXPECT_THAT(marks("quarantine"), IsEmpty());
}

TEST_F(GivingUp, WithNothingToReturnToItIsStartedAgainForEver) {
  host.marked = Error(Code::kFailedPrecondition, "HWS-BR-028", "no other one was good");
  start_live();
  for (int i = 0; i < 20; ++i) live_then_die(seconds(0));
  EXPECT_THAT(marks("quarantine"), Not(IsEmpty()));
  EXPECT_EQ(host.last_pid, 121);
}

TEST_F(GivingUp, ABinaryThatServedForItsProbationIsTrustedAndNeverGivenUp) {
  start_live();
  loop.advance(seconds(1799));
  EXPECT_THAT(marks("good"), IsEmpty());
  loop.advance(seconds(3));
  EXPECT_THAT(marks("good"), ElementsAre(HasSubstr("5ha")));
  for (int i = 0; i < 20; ++i) live_then_die(seconds(0));
  EXPECT_THAT(marks("quarantine"), IsEmpty());
  EXPECT_EQ(marks("good").size(), 1U) << "told once";
}

TEST_F(GivingUp, ABinaryThatAnEarlierHawserdTrustedIsNeverGivenUp) {
  host.stored.last_good_sha256 = "5ha";
  start_live();
  for (int i = 0; i < 20; ++i) live_then_die(seconds(1));
  EXPECT_THAT(marks("quarantine"), IsEmpty());
}

TEST_F(SupervisorTest, ThePauseBeforeTheNextAttemptIsShown) {
  start_live();
  host.validation = fake::down("the broker restarts");
  die(1 << 8);
  EXPECT_EQ(state(), "WAITING");
  EXPECT_FALSE(has_metric("hawser_proxy_backoff_seconds 0"));
  host.validation = Validation{true, "", "1.40.0"};
  loop.advance(seconds(1));
  EXPECT_TRUE(has_metric("hawser_proxy_backoff_seconds 0"));
  EXPECT_TRUE(has_metric("hawser_proxy_crashes_total{cause=\"exit\"} 1"));
}

const HandOverRequest kByHotRestart{HandOverKind::kHotRestart, true, false, {}};

struct Leftover : SupervisorTest {
  // A hand-over is called off, and its new generation, which hangs in the kernel, can't be ended in time.
  void fail_to_end_the_new_one() {
    driver.seen_of.emplace("f1e1", fake::down());
    driver.kernel = fake::live_probe().listeners;
    start_live();
    supervisor->restart(kByHotRestart, [](const Result<Supervisor::Restarted>&) {});
    loop.run_ready();
    ASSERT_EQ(state(), "HANDING_OVER");
    host.kill_works = false;
  }
};

TEST_F(Leftover, AStopEndsItTooOnceItCanBeEnded) {
  fail_to_end_the_new_one();
  stop(seconds(0));
  loop.advance(seconds(90));
  ASSERT_EQ(stopped.size(), 1U);
  ASSERT_FALSE(stopped.front()) << "it runs still";
  EXPECT_EQ(stopped.front().error().id(), "HWS-PX-007");
  host.kill_works = true;
  stop(seconds(0));
  loop.advance(seconds(30));
  ASSERT_EQ(stopped.size(), 2U);
  EXPECT_TRUE(stopped.back()) << stopped.back().error().to_string();
  EXPECT_THAT(host.generations, IsEmpty());
}

TEST_F(Leftover, ItIsEndedWhenItCanBeAndTheOldOneServesOn) {
  fail_to_end_the_new_one();
  loop.advance(seconds(90));
  host.kill_works = true;
  loop.advance(seconds(90));
  EXPECT_EQ(state(), "LIVE");
  EXPECT_EQ(supervisor->status().pid, 101);
  EXPECT_EQ(host.generations.size(), 1U);
  EXPECT_THAT(told, Not(Contains(HasSubstr("down"))));
}

struct LostParent : SupervisorTest {
  void hand_over() {
    driver.seen_of.emplace("f1e1", fake::down());
    driver.kernel = fake::live_probe().listeners;
    start_live();
    supervisor->restart(kByHotRestart, [](const Result<Supervisor::Restarted>&) {});
    loop.run_ready();
    auto taken_over = fake::live_probe();
    taken_over.epoch = 1;
    driver.seen_of.insert_or_assign("f1e1", taken_over);
    loop.advance(milliseconds(100));
    ASSERT_EQ(supervisor->status().generation, "f1e1");
  }
  std::string lost = "hawser_proxy_crashes_total{cause=\"parent_lost\"} 1";
};

TEST_F(LostParent, ItsPlaceIsTakenAndTheLossTold) {
  hand_over();
  EXPECT_THAT(driver.stood_in, IsEmpty());
  loop.advance(seconds(3));
  host.finish(SIGKILL, "f1e0");
  loop.advance(seconds(7));
  EXPECT_THAT(driver.stood_in, ElementsAre("f1e1"));
  EXPECT_TRUE(has_metric(lost));
  EXPECT_EQ(state(), "LIVE");
}

TEST_F(LostParent, AGracefulEndBeforeItsTimeIsALossToo) {
  hand_over();
  loop.advance(seconds(3));
  host.finish(0, "f1e0");
  loop.advance(seconds(7));
  EXPECT_THAT(driver.stood_in, ElementsAre("f1e1"));
  EXPECT_TRUE(has_metric(lost));
}

TEST_F(LostParent, ItsRegularEndIsNoLoss) {
  hand_over();
  loop.advance(seconds(61));
  host.finish(0, "f1e0");
  loop.advance(seconds(7));
  EXPECT_FALSE(has_metric(lost));
}

TEST_F(LostParent, OneFoundWithoutItsParentIsStoodInFor) {
  host.generations = {{"f1e1", 77, true, 0, "abc", {}}};
  driver.seen = fake::live_probe();
  start();
  EXPECT_THAT(told, ElementsAre("live f1e1 77"));
  EXPECT_THAT(driver.stood_in, ElementsAre("f1e1"));
}

}  // namespace
}  // namespace hawser::proxy
