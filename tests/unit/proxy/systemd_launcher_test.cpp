// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/systemd_launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "../broker/loop_runner.h"
#include "../broker/temporary_folder.h"
#include "base/file.h"
#include "fake_bus.h"
#include "proxy/generation_record.h"
#include "proxy/process_identity.h"

namespace hawser::proxy {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

constexpr const char* kUnit = "hawser-proxy-f1e0.service";

class SystemdLauncherTest : public testing::Test {
 protected:
  SystemdLauncherTest() { make(); }

  // A broker's life; the units outlive it.
  void make() {
    auto next = std::make_unique<FakeBus>();
    if (bus_ != nullptr) {
      next->units = bus_->units;
      next->boot_name = bus_->boot_name;
    }
    bus_ = next.get();
    options_.run_folder = folder_.path();
    options_.max_generations = 3;
    launcher_ = std::make_unique<SystemdLauncher>(loop_, std::move(next), options_);
    EXPECT_TRUE(launcher_->adopt());
  }

  GenerationSpec spec(const std::string& name = "f1e0") {
    GenerationSpec out;
    out.name = name;
    out.binary = "/store/abc/envoy";
    out.argv = {"/store/abc/envoy", "-c", "x"};
    out.uid = 996;
    out.gid = 995;
    out.bootstrap = folder_.write(name + ".bootstrap", "{}");
    return out;
  }

  void start(const GenerationSpec& wanted) {
    answer_ = "none";
    launcher_->start(wanted, [this](const Result<GenerationState>& state) {
      answer_ = state ? "pid " + std::to_string(state->pid) : state.error().to_string();
    });
  }
  void start_running(const std::string& name, std::uint32_t pid) {
    start(spec(name));
    bus_->come_up("hawser-proxy-" + name + ".service", pid);
    EXPECT_EQ(answer_, "pid " + std::to_string(pid));
  }
  std::optional<GenerationState> reap(const std::string& name, int wait_ms = 0) {
    // The answer may come long after this has returned.
    const auto out = std::make_shared<std::optional<GenerationState>>();
    launcher_->reap(name, std::chrono::milliseconds(wait_ms), [out, this](const Result<GenerationState>& state) {
      if (state)
        *out = *state;
      else
        answer_ = state.error().to_string();
    });
    return *out;
  }
  bool recorded(const std::string& name) { return file::exists(folder_ / (name + ".json")); }
  GenerationState only() {
    const auto all = launcher_->list();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? GenerationState() : all.front();
  }

  TemporaryFolder folder_;
  AsioLoop loop_;
  SystemdLauncher::Options options_;
  FakeBus* bus_ = nullptr;
  std::unique_ptr<SystemdLauncher> launcher_;
  std::string answer_;
};

TEST_F(SystemdLauncherTest, ARecordIsOnDiskBeforeTheProgramRuns) {
  bool seen = false;
  bus_->on_start = [&](const std::string&) { seen = recorded("f1e0"); };
  start(spec());
  EXPECT_TRUE(seen);
  EXPECT_EQ(answer_, "none") << "the job hasn't ended";
  bus_->come_up(kUnit, 71);
  EXPECT_EQ(answer_, "pid 71");
  EXPECT_TRUE(only().running);
}

TEST_F(SystemdLauncherTest, AStartThatFailsSaysWhyAndLeavesNothing) {
  start(spec());
  auto failed = FakeBus::running(0);
  failed.active_state = "failed";
  failed.exit_code = CLD_EXITED;
  failed.exit_value = 203;
  bus_->units[kUnit] = failed;
  bus_->events().job_removed(kUnit, "failed");
  EXPECT_THAT(answer_, HasSubstr("203 (EXEC)"));
  EXPECT_THAT(answer_, HasSubstr("HWS-BR-020"));
  EXPECT_TRUE(launcher_->list().empty());
  EXPECT_FALSE(recorded("f1e0"));
  EXPECT_TRUE(bus_->units.empty()) << "it would be in the next one's way";
}

TEST_F(SystemdLauncherTest, AFailedUnitOfThatNameMakesRoom) {
  bus_->units[kUnit] = FakeBus::running(0);
  bus_->units[kUnit].active_state = "failed";
  start(spec());
  bus_->come_up(kUnit, 72);
  EXPECT_EQ(answer_, "pid 72");
}

TEST_F(SystemdLauncherTest, TheExitStatusIsOnDiskBeforeTheReap) {
  start_running("f1e0", 71);
  bus_->end(kUnit, CLD_KILLED, SIGSEGV);
  EXPECT_FALSE(only().running);
  const auto record = load_record(folder_ / "f1e0.json");
  ASSERT_TRUE(record);
  EXPECT_TRUE(record->ended);
  EXPECT_EQ(record->exit_status, SIGSEGV);
  const auto reaped = reap("f1e0");
  ASSERT_TRUE(reaped);
  EXPECT_EQ(reaped->exit_status, SIGSEGV);
  EXPECT_FALSE(recorded("f1e0"));
  EXPECT_FALSE(file::exists(folder_ / "f1e0.bootstrap"));
  EXPECT_THAT(bus_->calls, Contains(std::string("reset ") + kUnit));
}

TEST_F(SystemdLauncherTest, AnEndAtTheLimitIsToldAndOutlivesTheBroker) {
  start_running("f1e0", 71);
  bus_->units[kUnit].result = "oom-kill";
  UnitState result;
  result.result = "oom-kill";
  bus_->events().changed(kUnit, result);
  bus_->end(kUnit, CLD_KILLED, SIGKILL);
  EXPECT_TRUE(only().out_of_memory);
  make();
  EXPECT_TRUE(only().out_of_memory);
  const auto ended = reap("f1e0");
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->exit_status, SIGKILL);
  EXPECT_TRUE(ended->out_of_memory);
}

TEST_F(SystemdLauncherTest, AReapThatWaitsIsAnsweredAtTheEnd) {
  start_running("f1e0", 71);
  std::optional<GenerationState> seen;
  launcher_->reap("f1e0", std::chrono::seconds(60), [&](const Result<GenerationState>& state) { seen = *state; });
  EXPECT_FALSE(seen);
  bus_->end(kUnit, CLD_EXITED, 0);
  ASSERT_TRUE(seen);
  EXPECT_FALSE(seen->running);
  EXPECT_EQ(seen->exit_status, 0);
}

TEST_F(SystemdLauncherTest, ASignalGoesThroughSystemd) {
  start_running("f1e0", 71);
  EXPECT_TRUE(launcher_->signal("f1e0", SIGTERM));
  EXPECT_EQ(bus_->calls.back(), std::string("kill ") + kUnit + " 15");
  bus_->end(kUnit, CLD_EXITED, 0);
  const auto late = launcher_->signal("f1e0", SIGTERM);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().id(), "HWS-BR-022");
  EXPECT_EQ(launcher_->signal("f9e9", SIGTERM).error().id(), "HWS-BR-022");
}

TEST_F(SystemdLauncherTest, AReapThatTouchesARunningOneChangesNothing) {
  start_running("f1e0", 71);
  const auto state = reap("f1e0");
  ASSERT_TRUE(state);
  EXPECT_TRUE(state->running);
  EXPECT_TRUE(recorded("f1e0"));
}

TEST_F(SystemdLauncherTest, ANewBrokerFindsWhatRuns) {
  start_running("f1e0", 71);
  make();
  EXPECT_TRUE(only().running);
  EXPECT_EQ(only().pid, 71);
}

TEST_F(SystemdLauncherTest, AndWhatEndedUnseen) {
  start_running("f1e0", 71);
  bus_->units[kUnit].active_state = "failed";
  bus_->units[kUnit].exit_code = CLD_KILLED;
  bus_->units[kUnit].exit_value = SIGKILL;
  make();
  EXPECT_FALSE(only().running);
  EXPECT_EQ(only().exit_status, SIGKILL);
}

TEST_F(SystemdLauncherTest, AbsenceMeansACleanExitInThisBootOnly) {
  start_running("f1e0", 71);
  bus_->units.clear();
  make();
  EXPECT_FALSE(only().running);
  EXPECT_EQ(only().exit_status, 0);

  ASSERT_TRUE(reap("f1e0"));
  start_running("f1e0", 72);
  bus_->units.clear();
  bus_->boot_name = "systemd-2";
  make();
  EXPECT_EQ(only().exit_status, -1) << "the host went down with it";
}

TEST_F(SystemdLauncherTest, AUnitWithoutARecordIsAdoptedAndGetsOne) {
  bus_->units[kUnit] = FakeBus::running(71);
  bus_->units[kUnit].command = {"/store/" + std::string(64, 'b') + "/envoy"};
  bus_->units["hawser-proxy-run-1-0.service"] = FakeBus::running(5);
  make();
  EXPECT_EQ(only().name, "f1e0");
  EXPECT_EQ(only().binary_sha256, std::string(64, 'b'));
  EXPECT_TRUE(only().running);
  EXPECT_TRUE(recorded("f1e0"));
}

TEST_F(SystemdLauncherTest, AReloadOfSystemdIsNoEnd) {
  start_running("f1e0", 71);
  bus_->events().removed(kUnit);  // said of every unit
  EXPECT_TRUE(only().running);
  bus_->events().reloaded();
  EXPECT_TRUE(only().running);
}

TEST_F(SystemdLauncherTest, AnEndWhileTheConnectionWasLostIsSeenAfterwards) {
  start_running("f1e0", 71);
  bus_->disconnect();
  EXPECT_TRUE(only().running);
  bus_->units[kUnit].active_state = "failed";
  bus_->units[kUnit].exit_code = CLD_EXITED;
  bus_->units[kUnit].exit_value = 1;
  bus_->reconnect();
  EXPECT_FALSE(only().running);
  EXPECT_EQ(only().exit_status, 1 << 8);
}

TEST_F(SystemdLauncherTest, AStartThatLostItsConnectionIsSettledByTheNext) {
  bus_->hold_starts = true;
  start(spec("f1e0"));
  bus_->disconnect();
  EXPECT_EQ(answer_, "none") << "it may have got through";
  bus_->units[kUnit] = FakeBus::running(71);
  bus_->reconnect();
  EXPECT_EQ(answer_, "pid 71");

  start(spec("f1e1"));
  bus_->disconnect();
  bus_->calls.clear();
  bus_->reconnect();
  EXPECT_THAT(bus_->calls, testing::Contains("start hawser-proxy-f1e1.service")) << "it hadn't, so it's asked again";
  bus_->come_up("hawser-proxy-f1e1.service", 72);
  EXPECT_EQ(answer_, "pid 72");
}

TEST_F(SystemdLauncherTest, StartsAndSignalsWaitForTheNextConnection) {
  start_running("f1e0", 71);
  bus_->disconnect();
  start(spec("f1e1"));
  EXPECT_TRUE(launcher_->signal("f1e0", SIGKILL));
  EXPECT_TRUE(launcher_->signal("f1e0", SIGTERM));
  EXPECT_EQ(answer_, "none");
  bus_->calls.clear();
  bus_->reconnect();
  EXPECT_THAT(bus_->calls,
              UnorderedElementsAre(std::string("kill ") + kUnit + " 9", "start hawser-proxy-f1e1.service"));
  bus_->come_up("hawser-proxy-f1e1.service", 72);
  EXPECT_EQ(answer_, "pid 72");
}

TEST_F(SystemdLauncherTest, AStartThatNeverGetsAConnectionFailsAndLeavesNothing) {
  options_.start_timeout = std::chrono::milliseconds(20);
  make();
  bus_->disconnect();
  run_until_called(loop_, [this](const auto& called) {
    launcher_->start(spec(), [this, called](const Result<GenerationState>& state) {
      answer_ = state ? "started" : state.error().to_string();
      called();
    });
  });
  EXPECT_THAT(answer_, HasSubstr("HWS-BR-040"));
  EXPECT_TRUE(launcher_->list().empty());
  EXPECT_FALSE(recorded("f1e0"));
}

TEST_F(SystemdLauncherTest, AReapWithoutAConnectionCanBeRepeated) {
  start_running("f1e0", 71);
  bus_->end(kUnit, CLD_KILLED, SIGKILL);
  bus_->disconnect();
  EXPECT_FALSE(reap("f1e0"));
  EXPECT_THAT(answer_, HasSubstr("HWS-BR-040"));
  bus_->reconnect();
  EXPECT_TRUE(reap("f1e0"));
}

TEST_F(SystemdLauncherTest, TheNumberOfGenerationsIsBounded) {
  start_running("f1e0", 71);
  start(spec("f1e0"));
  EXPECT_THAT(answer_, HasSubstr("HWS-BR-021"));
  start_running("f1e1", 72);
  start_running("f1e2", 73);
  start(spec("f1e3"));
  EXPECT_THAT(answer_, HasSubstr("HWS-BR-021"));
}

TEST_F(SystemdLauncherTest, AnEndedOneMakesRoomAndTheNewBootstrapStays) {
  start_running("f1e0", 71);
  bus_->end(kUnit, CLD_KILLED, SIGKILL);
  start_running("f1e0", 72);
  EXPECT_TRUE(file::exists(folder_ / "f1e0.bootstrap")) << "it is the new one's";
  EXPECT_TRUE(only().running);
}

TEST_F(SystemdLauncherTest, WhatAFamilySharesGoesWithItsLast) {
  auto first = spec("f1e0");
  auto second = spec("f1e1");
  first.family_leftovers = second.family_leftovers = {folder_.write("shared", "")};
  first.leftovers = {folder_ / "no-such-file"};
  start(first);
  bus_->come_up(kUnit, 71);
  start(second);
  bus_->come_up("hawser-proxy-f1e1.service", 72);
  bus_->calls.clear();
  bus_->end(kUnit, CLD_EXITED, 0);
  ASSERT_TRUE(reap("f1e0"));
  EXPECT_THAT(bus_->calls, Not(Contains(HasSubstr("start hawser-proxy-run"))));
  bus_->end("hawser-proxy-f1e1.service", CLD_EXITED, 0);
  EXPECT_FALSE(reap("f1e1")) << "answered when the short unit has ended";
  ASSERT_THAT(bus_->calls, Contains(HasSubstr("start hawser-proxy-run")));
  const std::string unit = bus_->calls.back().substr(6);
  for (const auto& property : bus_->started[unit])
    if (property.name == "ExecStart") {
      EXPECT_EQ(std::get<UnitCommand>(property.value).argv,
                (std::vector<std::string>{"/bin/rm", "-f", "--", folder_ / "shared"}));
    }
  bus_->end(unit, CLD_EXITED, 0);
  EXPECT_TRUE(launcher_->list().empty());
}

TEST_F(SystemdLauncherTest, ARecordOfTheDirectLauncherIsNotTouched) {
  GenerationRecord record;
  record.spec = spec("f2e0");
  record.boot = boot_id();
  record.holder = {1, 2};
  ASSERT_TRUE(save_record(folder_ / "f2e0.json", record));
  make();
  EXPECT_TRUE(launcher_->list().empty());
  EXPECT_TRUE(recorded("f2e0"));
}

}  // namespace
}  // namespace hawser::proxy
