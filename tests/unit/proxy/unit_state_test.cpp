// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/unit_state.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "proxy/adopted_unit.h"

namespace hawser::proxy {
namespace {

UnitState exited(int code, int value) {
  UnitState out;
  out.exit_code = code;
  out.exit_value = value;
  return out;
}

TEST(UnitState, AnExitReadsAsWaitGivesIt) {
  const int failed = exited(CLD_EXITED, 3).wait_status().value_or(-1);
  EXPECT_TRUE(WIFEXITED(failed));
  EXPECT_EQ(WEXITSTATUS(failed), 3);
  const int killed = exited(CLD_KILLED, SIGKILL).wait_status().value_or(-1);
  EXPECT_TRUE(WIFSIGNALED(killed));
  EXPECT_EQ(WTERMSIG(killed), SIGKILL);
  const int dumped = exited(CLD_DUMPED, SIGSEGV).wait_status().value_or(-1);
  EXPECT_EQ(WTERMSIG(dumped), SIGSEGV);
  EXPECT_TRUE(WCOREDUMP(dumped));
  EXPECT_EQ(exited(CLD_EXITED, 0).wait_status(), 0);
}

TEST(UnitState, WhatHasNotEndedHasNoStatus) {
  EXPECT_FALSE(UnitState().wait_status());
  EXPECT_FALSE(exited(0, 0).wait_status());
}

TEST(UnitState, OnlyInactiveAndFailedAreOver) {
  UnitState state;
  EXPECT_FALSE(state.over());
  for (const char* name : {"activating", "active", "reloading", "deactivating"}) {
    state.active_state = name;
    EXPECT_FALSE(state.over()) << name;
  }
  for (const char* name : {"inactive", "failed"}) {
    state.active_state = name;
    EXPECT_TRUE(state.over()) << name;
  }
}

TEST(UnitState, AChangeKeepsWhatItDoesNotName) {
  UnitState state;
  state.active_state = "active";
  state.main_pid = 7;
  UnitState change;
  change.active_state = "deactivating";
  state.merge(change);
  EXPECT_EQ(state.active_state, "deactivating");
  EXPECT_EQ(state.main_pid, 7U);
}

TEST(UnitState, NamesTheStepThatFailed) {
  EXPECT_EQ(describe_exit(203), "203 (EXEC)");
  EXPECT_EQ(describe_exit(226), "226 (NAMESPACE)");
  EXPECT_EQ(describe_exit(1), "1");
}

TEST(AdoptedUnit, IsWhatItsCommandsSay) {
  const std::string digest(64, 'a');
  UnitState state;
  state.command = {"/store/" + digest + "/envoy", "-c", "/boot/f2e1.json", "--restart-epoch", "1"};
  state.stop_post = {"/bin/rm", "-f", "--", "/run/x/f2e1.admin.sock"};
  state.user = "996";
  state.group = "995";
  const auto spec = adopted_spec("f2e1", state);
  EXPECT_EQ(spec.name, "f2e1");
  EXPECT_EQ(spec.binary_sha256, digest);
  EXPECT_EQ(spec.bootstrap, "/boot/f2e1.json");
  EXPECT_EQ(spec.leftovers, std::vector<std::string>{"/run/x/f2e1.admin.sock"});
  EXPECT_EQ(spec.uid, 996U);
  EXPECT_EQ(spec.gid, 995U);
}

TEST(AdoptedUnit, AForeignUnitHasNothingToCleanUp) {
  UnitState state;
  state.command = {"/bin/sleep", "-c"};
  const auto spec = adopted_spec("f2e1", state);
  EXPECT_TRUE(spec.leftovers.empty());
  EXPECT_TRUE(spec.bootstrap.empty());
  EXPECT_TRUE(spec.binary_sha256.empty());
}

}  // namespace
}  // namespace hawser::proxy
