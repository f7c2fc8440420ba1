// SPDX-License-Identifier: Apache-2.0
// What the new one is given: is it all there, and held back until the new one has been looked at?
#include "hand_over_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct FedTest : HandOverTest {
  FedTest() {
    options.feed = true;
    options.can.waits_for_listeners = options.can.worker_request = true;
    warm = fake::early_probe(ProxyState::kInitializing);
    warm.version = "1.40.0";
    warm.epoch = 4;
  }
  void to_snapshot() {
    to_validating();
    validated();
    expect(Deed::kSnapshot);
  }
  void snapshot(const std::string& missing, const std::string& rejected = "", bool settled = true) {
    give(hand_over::SnapshotSeen{ConfigFeed::Snapshot{missing, rejected, settled}});
  }
  void to_holding() {
    to_snapshot();
    snapshot("");
    expect(Deed::kHold);
    EXPECT_TRUE(machine->holds());
  }
  void to_held_warming() {
    to_holding();
    give(hand_over::Held{Status()});
    expect(Deed::kLaunch);
    give(hand_over::Launched{StartedGeneration{101, "new"}});
    expect(Deed::kProbeNew);
  }
  void to_vetting() {
    to_held_warming();
    give(hand_over::NewProbed{warm});
    expect(Deed::kInspectNew);
  }
  // It's killed and reaped, the old one looked at; then the hold goes.
  void dies_held() {
    to_aftermath();
    give(hand_over::OldProbed{old_probe});
    expect(Deed::kRelease);
    EXPECT_FALSE(machine->holds());
    EXPECT_TRUE(machine->done());
  }

  ProbeResult warm;
  const Inspection good{"", "11.104", 1, "", false};
};

TEST_F(FedTest, ItsListenersAreReleasedOnceItHasBeenLookedAt) {
  to_held_warming();
  ProbeResult early = fake::early_probe(ProxyState::kPreInitializing);
  early.epoch = 4;
  give(hand_over::NewProbed{early});
  expect(Deed::kProbeNew);
  give(hand_over::NewProbed{warm});
  expect(Deed::kInspectNew);
  EXPECT_TRUE(machine->may_be_called_off());
  give(hand_over::NewInspected{good});
  EXPECT_THAT(asked, ElementsAre(Deed::kRelease, Deed::kProbeNew));
  give(hand_over::NewProbed{warm});
  expect(Deed::kProbeNew);
  give(hand_over::NewProbed{new_probe});
  expect(Deed::kInspectNew);
  checked();
  expect(Deed::kAskNew);
  give(hand_over::NewAnswered{Status()});
  EXPECT_EQ(id(), "replaced");
  EXPECT_THAT(gates(),
              ElementsAre("predecessor", "ready", "mark", "concurrency", "memory", "validate", "hot_restart_version",
                          "snapshot", "held", "launched", "epoch", "version", "clusters", "certificates", "live",
                          "listeners", "certificates", "workers", "request"));
}

TEST_F(FedTest, WithoutAFeedNothingIsHeldBack) {
  options.feed = false;
  to_warming();
  EXPECT_FALSE(machine->holds());
}

TEST_F(FedTest, OneThatDoesntWaitForListenersIsntHeldBack) {
  options.can.waits_for_listeners = false;
  to_snapshot();
  snapshot("");
  expect(Deed::kLaunch);
}

TEST_F(FedTest, NothingStartsThatWouldWaitForEver) {
  to_snapshot();
  snapshot("listeners (LDS)");
  expect(Deed::kSnapshot);  // it may be on its way
  now += seconds(3);
  snapshot("listeners (LDS)");
  EXPECT_EQ(id(), "HWS-PX-035");
  EXPECT_THAT(message(), HasSubstr("listeners (LDS)"));
  EXPECT_THAT(asked, IsEmpty());
  EXPECT_THAT(gates(), Contains("!snapshot"));
}

TEST_F(FedTest, WhatThePlaneHasJustSaidIsWaitedFor) {
  to_snapshot();
  snapshot("clusters (CDS)");
  snapshot("", "", false);
  expect(Deed::kSnapshot);
  snapshot("");
  expect(Deed::kHold);
}

TEST_F(FedTest, APlaneThatNeverPausesHoldsNothingUp) {
  to_snapshot();
  now += seconds(3);
  snapshot("", "", false);
  expect(Deed::kHold);
  EXPECT_THAT(machine->gates().back().reason, HasSubstr("not yet acknowledged"));
}

TEST_F(FedTest, NoColdStartEitherIfNobodyWouldServeAfterIt) {
  options.request.kind = HandOverKind::kPlannedCold;
  to_snapshot();
  now += seconds(3);
  snapshot("clusters (CDS)");
  EXPECT_EQ(id(), "HWS-PX-035");
}

TEST_F(FedTest, APlanTellsWhatIsMissing) {
  options.request.plan = true;
  to_snapshot();
  now += seconds(3);
  snapshot("clusters (CDS)");
  EXPECT_EQ(id(), "HWS-PX-035");
  EXPECT_FALSE(machine->holds());
  EXPECT_THAT(gates(), Not(Contains("held")));
}

TEST_F(FedTest, WhatTheOldOneRefusedNoSuccessorWithoutAWayBackIsGiven) {
  to_snapshot();
  snapshot("", "listeners (LDS)");
  EXPECT_EQ(id(), "HWS-PX-038");
  EXPECT_THAT(machine->outcome().error->hint(), HasSubstr("side-by-side"));
}

TEST_F(FedTest, WhatTheOldOneRefusedIsTriedSideBySideWhereItIsLeftToUs) {
  options.request.kind.reset();
  inspection.unshared.clear();
  to_snapshot();
  snapshot("", "listeners (LDS)");
  EXPECT_EQ(machine->kind(), HandOverKind::kSideBySide);
  expect(Deed::kValidate);
  validated();
  expect(Deed::kSnapshot);
  snapshot("", "listeners (LDS)");
  expect(Deed::kLaunch);
  EXPECT_FALSE(machine->holds());
}

TEST_F(FedTest, NoColdStartIsChosenForWhatTheOldOneRefused) {
  options.request.kind.reset();
  options.cold_allowed = true;
  inspection.unshared = "0.0.0.0_15006 has no reuse_port";
  to_snapshot();
  snapshot("", "listeners (LDS)");
  EXPECT_EQ(id(), "HWS-PX-038") << "it would end what still has the listener, and bring up one without";
  EXPECT_EQ(machine->kind(), HandOverKind::kHotRestart);
  EXPECT_THAT(asked, IsEmpty());
}

TEST_F(FedTest, WithoutAHoldNothingIsStarted) {
  to_holding();
  give(hand_over::Held{Status(Error(Code::kInvalidArgument, "HWS-XDS-032", "16 holds are in force already", ""))});
  EXPECT_EQ(id(), "HWS-XDS-032");
  expect(Deed::kRelease);
}

TEST_F(FedTest, OneThatIsntWarmInTimeIsKilledWhileItIsHeld) {
  to_held_warming();
  now += seconds(31);
  ProbeResult early = fake::early_probe(ProxyState::kPreInitializing);
  early.epoch = 4;
  give(hand_over::NewProbed{early});
  EXPECT_TRUE(machine->holds());
  dies_held();
  EXPECT_EQ(id(), "HWS-PX-024");
  EXPECT_THAT(gates(), Contains("!clusters"));
  EXPECT_EQ(kills, 1);
}

TEST_F(FedTest, OneOfAnotherVersionIsKilledBeforeItIsLive) {
  warm.version = "1.39.3";
  to_held_warming();
  give(hand_over::NewProbed{warm});
  dies_held();
  EXPECT_EQ(id(), "HWS-PX-032");
  EXPECT_THAT(message(), HasSubstr("1.39.3"));
}

TEST_F(FedTest, OneWithAnExpiredCertificateIsKilledBeforeItIsLive) {
  to_vetting();
  Inspection expired = good;
  expired.expired = "1234";
  give(hand_over::NewInspected{expired});
  dies_held();
  EXPECT_EQ(id(), "HWS-PX-032");
  EXPECT_THAT(gates(), Contains("!certificates"));
  EXPECT_FALSE(machine->outcome().old_mute);
}

TEST_F(FedTest, OneThatCantBeAskedWhatItPresentsIsAskedAgainAndThenKilled) {
  to_vetting();
  for (int look = 0; look < 2; ++look) {
    give(hand_over::NewInspected{fake::down()});
    expect(Deed::kInspectNew);
  }
  give(hand_over::NewInspected{fake::down()});
  dies_held();
}

TEST_F(FedTest, IsCalledOffWhileItIsHeld) {
  to_held_warming();
  give(hand_over::CallOff{"a reason"});
  give(hand_over::NewProbed{warm});
  dies_held();
  EXPECT_EQ(id(), "HWS-PX-027");
  to_vetting();
  give(hand_over::CallOff{"a reason"});
  dies_held();
  EXPECT_EQ(id(), "HWS-PX-027");
  to_holding();
  give(hand_over::CallOff{"a reason"});
  EXPECT_EQ(id(), "HWS-PX-027");
  expect(Deed::kRelease);
}

TEST_F(FedTest, OneThatEndsWhileItIsHeldIsNothing) {
  to_vetting();
  give(hand_over::NewEnded{});
  expect(Deed::kReap);
  give(hand_over::Reaped{ReapedGeneration{true, SIGKILL}});
  expect(Deed::kProbeOld);
  give(hand_over::OldProbed{old_probe});
  expect(Deed::kRelease);
  EXPECT_EQ(id(), "HWS-PX-024");
}

TEST_F(FedTest, AWorkerThatDoesntAnswerIsToldByHotRestart) {
  to_vetting();
  give(hand_over::NewInspected{good});
  give(hand_over::NewProbed{new_probe});
  checked();
  for (int ask = 0; ask < 3; ++ask) {
    expect(Deed::kAskNew);
    give(hand_over::NewAnswered{Status(fake::down("no answer in time"))});
  }
  EXPECT_EQ(id(), "replaced");
  EXPECT_THAT(gates(), Contains("!request"));
}

TEST_F(FedTest, AWorkerThatDoesntAnswerCallsItOffSideBySide) {
  options.request.kind = HandOverKind::kSideBySide;
  inspection.unshared.clear();
  new_probe.epoch = 0;
  to_snapshot();
  snapshot("");
  expect(Deed::kLaunch);
  give(hand_over::Launched{StartedGeneration{101, "new"}});
  give(hand_over::NewProbed{new_probe});
  checked();
  for (int ask = 0; ask < 3; ++ask) {
    expect(Deed::kAskNew);
    give(hand_over::NewAnswered{Status(fake::down("no answer in time"))});
  }
  expect(Deed::kDrainNew);
}

// ---- how often, and what a proxy can

TEST_F(HandOverTest, TooManyInAnHourAreRefused) {
  options.request.limited = true;
  options.per_hour = 3;
  options.recent = 3;
  to_proving();
  EXPECT_EQ(id(), "HWS-PX-036");
  options.recent = 2;
  to_proving();
  EXPECT_EQ(id(), "goes on");
  EXPECT_THAT(gates(), ElementsAre("predecessor", "rate"));
  options.recent = 1000;
  options.per_hour = 0;
  to_proving();
  EXPECT_EQ(id(), "goes on");
  options.per_hour = 3;
  options.request.limited = false;
  to_proving();
  EXPECT_EQ(id(), "goes on") << "what puts a proxy right isn't limited";
}

TEST_F(HandOverTest, TwoHotRestartsKeepADistance) {
  options.rests_until = now + seconds(2);
  inspect();
  EXPECT_EQ(waits, milliseconds(2001));
  EXPECT_THAT(gates(), Contains("interval"));
  EXPECT_TRUE(machine->may_be_called_off());
  options.request.plan = true;
  inspect();
  EXPECT_EQ(waits, milliseconds(0));
  options.request.plan = false;
  options.rests_until = now;
  inspect();
  EXPECT_EQ(waits, milliseconds(0));
}

TEST_F(HandOverTest, WhatAProxyCantIsRefusedAndNeverChosen) {
  options.can.hot_restart = false;
  inspect();
  EXPECT_EQ(id(), "HWS-PX-037");
  options.request.kind.reset();
  inspection.unshared.clear();
  inspect();
  EXPECT_EQ(machine->kind(), HandOverKind::kSideBySide);
  inspection.unshared = "l15001 has enable_reuse_port: false";
  inspect();
  EXPECT_EQ(id(), "HWS-PX-037");
  options.cold_allowed = true;
  inspect();
  EXPECT_EQ(machine->kind(), HandOverKind::kPlannedCold);
}

TEST_F(HandOverTest, OneThatCantRunBesideAnotherIsHotRestarted) {
  options.can.side_by_side = false;
  options.queues_move = true;
  options.request.kind.reset();
  inspection.unshared.clear();
  inspect();
  EXPECT_EQ(machine->kind(), HandOverKind::kHotRestart);
  options.request.kind = HandOverKind::kSideBySide;
  inspect();
  EXPECT_EQ(id(), "HWS-PX-037");
}

}  // namespace
}  // namespace hawser::proxy
