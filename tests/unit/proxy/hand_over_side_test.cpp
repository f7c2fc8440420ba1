// SPDX-License-Identifier: Apache-2.0
// Side by side: both accept until the new one has proved itself.
#include "hand_over_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

struct SideBySideTest : HandOverTest {
  SideBySideTest() {
    options.request.kind = HandOverKind::kSideBySide;
    inspection.unshared.clear();
    new_probe.epoch = 0;
  }
  void to_canary() {
    to_checking();
    checked();
    expect(Deed::kProbeNew);
  }
  // It drains, is asked to end, and does.
  void leaves() {
    expect(Deed::kDrainNew);
    give(hand_over::Drained{Status()});
    expect(Deed::kWait);
    give(hand_over::Waited{});
    expect(Deed::kEndNew);
    give(hand_over::Killed{Status()});
    reaped(0);
  }
};

TEST_F(SideBySideTest, ANewFamilyTakesOverAfterItsCanaryWindow) {
  to_canary();
  EXPECT_EQ(machine->new_name(), "f2e0");
  EXPECT_EQ(machine->workers(), 0U);
  now += seconds(4);
  give(hand_over::NewProbed{new_probe});
  EXPECT_THAT(asked, ElementsAre(Deed::kProbeNew));
  EXPECT_TRUE(machine->may_be_called_off());
  now += seconds(1);
  give(hand_over::NewProbed{new_probe});
  EXPECT_EQ(id(), "replaced");
  EXPECT_EQ(machine->outcome().kind, HandOverKind::kSideBySide);
  EXPECT_THAT(gates(), ElementsAre("predecessor", "ready", "shareable", "memory", "validate", "launched", "live",
                                   "epoch", "listeners", "certificates", "workers", "canary"));
}

TEST_F(SideBySideTest, TwoFamiliesTakeTurns) {
  options.old_id = {2, 0};
  begin();
  EXPECT_EQ(machine->new_name(), "f1e0");
}

TEST_F(SideBySideTest, WithoutAWindowItTakesOverAtOnce) {
  options.canary = seconds(0);
  to_checking();
  checked();
  EXPECT_EQ(id(), "replaced");
}

TEST_F(SideBySideTest, IsRefusedWhereAListenerCantBeShared) {
  inspection.unshared = "l15001 has enable_reuse_port: false";
  inspect();
  EXPECT_EQ(id(), "HWS-PX-030");
  EXPECT_THAT(message(), HasSubstr("l15001"));
}

TEST_F(SideBySideTest, IsRefusedWhereListenersCantBeAskedFor) {
  to_inspecting();
  give(hand_over::OldInspected{fake::down()});
  EXPECT_EQ(id(), "HWS-PX-030");
}

// Neither the mark nor the workers nor the version of the protocol matter: they don't speak to each other.
TEST_F(SideBySideTest, NeedsNothingOfHotRestart) {
  old_probe.initializing = true;
  options.concurrency = 1;
  candidate = "12.1";
  to_warming();
}

TEST_F(SideBySideTest, NeedsRoomForTwo) {
  options.room = MemoryRoom{100, 100};
  inspect();
  EXPECT_EQ(id(), "HWS-PX-023");
}

TEST_F(SideBySideTest, OneThatIsNotLiveInTimeIsKilledAndNothingElseHasHappened) {
  to_warming();
  now += seconds(31);
  give(hand_over::NewProbed{fake::early_probe(ProxyState::kInitializing)});
  expect(Deed::kKill);
  give(hand_over::Killed{Status()});
  reaped(SIGKILL);
  EXPECT_EQ(id(), "HWS-PX-024");
}

TEST_F(SideBySideTest, AllThatTheOldOneListensOnIsWaitedForNotOnlyWhatInterceptionNeeds) {
  old_probe.listeners.push_back({"extra", "10.0.0.1", 8080, true});
  to_warming();
  give(hand_over::NewProbed{new_probe});
  EXPECT_THAT(asked, ElementsAre(Deed::kProbeNew));
  now += seconds(31);
  give(hand_over::NewProbed{new_probe});
  leaves();
  EXPECT_EQ(id(), "HWS-PX-032");
  EXPECT_THAT(message(), HasSubstr("10.0.0.1:8080"));
  EXPECT_THAT(gates(), Contains("!listeners"));
}

TEST_F(SideBySideTest, WhatTheOldOneHasClosedIsNotAskedOfTheNewOne) {
  old_probe.listeners.push_back({"gone", "10.0.0.1", 8080, false});
  to_checking();
}

TEST_F(SideBySideTest, OneWithoutCertificatesLeavesAgain) {
  to_checking();
  give(hand_over::NewInspected{Inspection{"", "11.104", 0, "", true}});
  leaves();
  EXPECT_EQ(id(), "HWS-PX-032");
  EXPECT_THAT(gates(), Contains("!certificates"));
}

TEST_F(SideBySideTest, OneWithAnExpiredCertificateLeavesAgain) {
  to_checking();
  give(hand_over::NewInspected{Inspection{"", "11.104", 1, "0aff", true}});
  leaves();
  EXPECT_THAT(message(), HasSubstr("0aff"));
}

TEST_F(SideBySideTest, WhereTheOldOneHasNoneNoneIsAsked) {
  inspection.certificates = 0;
  to_checking();
  give(hand_over::NewInspected{Inspection{"", "11.104", 0, "", true}});
  EXPECT_EQ(machine->step(), HandOver::Step::kCanary);
}

TEST_F(SideBySideTest, OneWhoseWorkersDontRunLeavesAgain) {
  to_checking();
  give(hand_over::NewInspected{Inspection{"", "11.104", 1, "", false}});
  leaves();
  EXPECT_THAT(gates(), Contains("!workers"));
}

TEST_F(SideBySideTest, OneThatCantBeInspectedIsAskedAgainThenLeaves) {
  to_checking();
  give(hand_over::NewInspected{fake::down()});
  expect(Deed::kInspectNew);
  give(hand_over::NewInspected{fake::down()});
  give(hand_over::NewInspected{fake::down()});
  leaves();
  EXPECT_EQ(id(), "HWS-PX-032");
}

TEST_F(SideBySideTest, OneThatDiesInTheWindowIsReapedAndTheOldOneServesOn) {
  to_canary();
  give(hand_over::NewEnded{});
  reaped(SIGSEGV);
  EXPECT_EQ(id(), "HWS-PX-032");
  EXPECT_THAT(message(), HasSubstr("SIGSEGV"));
  EXPECT_THAT(gates(), Contains("!canary"));
  EXPECT_EQ(kills, 0);
}

TEST_F(SideBySideTest, OneThatIsNoLongerReadyInTheWindowLeaves) {
  to_canary();
  new_probe.ready = false;
  give(hand_over::NewProbed{new_probe});
  leaves();
  EXPECT_EQ(id(), "HWS-PX-032");
}

TEST_F(SideBySideTest, OneThatFallsSilentInTheWindowHasThreeChances) {
  to_canary();
  give(hand_over::NewProbed{fake::down()});
  give(hand_over::NewProbed{fake::down()});
  give(hand_over::NewProbed{new_probe});
  give(hand_over::NewProbed{fake::down()});
  give(hand_over::NewProbed{fake::down()});
  expect(Deed::kProbeNew);
  give(hand_over::NewProbed{fake::down()});
  expect(Deed::kDrainNew);
  give(hand_over::Drained{Status(fake::down())});  // nor does it hear that
  expect(Deed::kKill);
}

TEST_F(SideBySideTest, CalledOffInTheWindowTheNewOneDrainsBeforeItEnds) {
  to_canary();
  give(hand_over::CallOff{"an operator asked for it"});
  EXPECT_FALSE(machine->may_be_called_off());
  leaves();
  EXPECT_EQ(id(), "HWS-PX-027");
  EXPECT_THAT(message(), HasSubstr("an operator"));
  EXPECT_EQ(kills, 0);
}

TEST_F(SideBySideTest, CalledOffBeforeItIsLiveItIsKilledAndOneThatJustGotLiveDrains) {
  to_warming();
  give(hand_over::CallOff{"x"});
  give(hand_over::NewProbed{fake::early_probe(ProxyState::kInitializing)});
  expect(Deed::kKill);
  to_warming();
  give(hand_over::CallOff{"x"});
  give(hand_over::NewProbed{new_probe});
  leaves();
  EXPECT_EQ(id(), "HWS-PX-027");
}

TEST_F(SideBySideTest, OneThatDoesntEndWhenAskedIsKilled) {
  to_canary();
  give(hand_over::CallOff{"x"});
  give(hand_over::Drained{Status()});
  give(hand_over::Waited{});
  give(hand_over::Killed{Status()});
  give(hand_over::Reaped{ReapedGeneration{false, -1}});
  EXPECT_THAT(asked, ElementsAre(Deed::kKill, Deed::kReap));
  give(hand_over::Reaped{ReapedGeneration{true, SIGKILL}});
  EXPECT_EQ(id(), "HWS-PX-027");
}

TEST_F(SideBySideTest, WhenTheOldOneEndsInTheWindowTheNewOneIsTakenAtOnce) {
  to_canary();
  give(hand_over::OldEnded{});
  EXPECT_EQ(id(), "replaced");
  EXPECT_TRUE(machine->outcome().old_ended);
}

// It doesn't need the old one. Who looks for what runs finds it.
TEST_F(SideBySideTest, WhenTheOldOneEndsEarlierTheNewOneIsLeftRunning) {
  to_warming();
  give(hand_over::OldEnded{});
  EXPECT_EQ(id(), "HWS-PX-026");
  EXPECT_EQ(kills, 0);
}

TEST_F(SideBySideTest, OneThatAnswersForAnotherIsKilled) {
  to_warming();
  new_probe.epoch = 7;
  give(hand_over::NewProbed{new_probe});
  expect(Deed::kKill);
}

}  // namespace
}  // namespace hawser::proxy
