// SPDX-License-Identifier: Apache-2.0
// By hot restart.
#include "hand_over_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(HandOverTest, TheNextEpochTakesOver) {
  to_warming();
  EXPECT_EQ(machine->new_name(), "f1e4");
  EXPECT_EQ(machine->workers(), 2U);
  give(hand_over::NewProbed{fake::down()});
  EXPECT_THAT(asked, ElementsAre(Deed::kProbeNew));
  ProbeResult early = fake::early_probe(ProxyState::kInitializing);
  early.epoch = 4;
  give(hand_over::NewProbed{early});
  EXPECT_THAT(asked, ElementsAre(Deed::kProbeNew));
  give(hand_over::NewProbed{new_probe});
  EXPECT_THAT(asked, ElementsAre(Deed::kInspectNew));
  checked();
  EXPECT_EQ(id(), "replaced");
  EXPECT_EQ(machine->outcome().pid, 101);
  EXPECT_THAT(gates(),
              ElementsAre("predecessor", "ready", "mark", "concurrency", "memory", "validate", "hot_restart_version",
                          "launched", "live", "epoch", "listeners", "certificates", "workers"));
  EXPECT_EQ(kills, 0);
}

TEST_F(HandOverTest, IsRefusedWhileAPredecessorRuns) {
  begin();
  give(hand_over::Observed{
      std::vector<HostedGeneration>{{"f1e2", 99, true, 0, "a", {}}, {"f1e3", 100, true, 0, "b", {}}}});
  EXPECT_EQ(id(), "HWS-PX-021");
  EXPECT_THAT(message(), HasSubstr("f1e2"));
}

TEST_F(HandOverTest, OneThatEndedIsNoObstacle) {
  begin();
  give(hand_over::Observed{
      std::vector<HostedGeneration>{{"f1e2", 99, false, 0, "a", {}}, {"f1e3", 100, true, 0, "b", {}}}});
  EXPECT_THAT(asked, ElementsAre(Deed::kProbeOld));
}

TEST_F(HandOverTest, IsRefusedIfTheOldOneIsNotItself) {
  to_proving();
  old_probe.epoch = 2;
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-021");
}

TEST_F(HandOverTest, IsRefusedIfTheOldOneCantBeAsked) {
  to_proving();
  give(hand_over::OldProbed{fake::down()});
  EXPECT_EQ(id(), "HWS-PX-021");
}

TEST_F(HandOverTest, IsRefusedIfTheOldOneDrains) {
  to_proving();
  old_probe.state = ProxyState::kDraining;
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-021");
}

TEST_F(HandOverTest, IsRefusedIfAnEarlierAttemptLeftItsMark) {
  old_probe.initializing = true;
  inspect();
  EXPECT_THAT(asked, ElementsAre(Deed::kRepair));
  give(hand_over::Repaired{Status(Error(Code::kFailedPrecondition, "HWS-BR-043", "another size", ""))});
  EXPECT_EQ(id(), "HWS-PX-022");
  EXPECT_THAT(message(), HasSubstr("another size"));
  EXPECT_THAT(machine->outcome().error->hint(), HasSubstr("planned-cold"));
}

TEST_F(HandOverTest, AMarkThatCanBeTakenOutIsNoObstacle) {
  old_probe.initializing = true;
  inspect();
  give(hand_over::Repaired{Status()});
  EXPECT_THAT(asked, ElementsAre(Deed::kValidate));
  EXPECT_EQ(machine->gates()[2].name, "mark");
  EXPECT_TRUE(machine->gates()[2].passed);
}

TEST_F(HandOverTest, IsRefusedWithFewerWorkersButNotWithMore) {
  options.concurrency = 1;
  inspect();
  EXPECT_EQ(id(), "HWS-PX-021");
  options.concurrency = 4;
  inspect();
  EXPECT_THAT(asked, ElementsAre(Deed::kValidate));
}

TEST_F(HandOverTest, IsRefusedWithoutRoomForTwo) {
  options.room = MemoryRoom{119, 100};
  inspect();
  EXPECT_EQ(id(), "HWS-PX-023");
  options.room = MemoryRoom{120, 100};
  inspect();
  EXPECT_FALSE(machine->done());
}

TEST_F(HandOverTest, IsRefusedIfTheNewOneMayHaveLessThanTheOldOneHolds) {
  options.room = MemoryRoom{1000, 100};
  memory_max = 119;
  inspect();
  EXPECT_EQ(id(), "HWS-PX-023");
  memory_max = 120;
  inspect();
  EXPECT_FALSE(machine->done());
}

TEST_F(HandOverTest, IsRefusedAtTheLastEpoch) {
  options.old_id.epoch = old_probe.epoch = GenerationId::kMaxEpoch;
  begin();
  give(hand_over::Observed{std::vector<HostedGeneration>{{"f1e9999", 100, true, 0, "5ha", {}}}});
  give(hand_over::OldProbed{old_probe});
  give(hand_over::OldInspected{inspection});
  EXPECT_EQ(id(), "HWS-PX-021");
  EXPECT_THAT(asked, IsEmpty());
}

TEST_F(HandOverTest, ABootstrapThatIsRefusedStartsNothing) {
  to_validating();
  give(hand_over::Validated{Validation{false, "no such field", "", ""}});
  EXPECT_EQ(id(), "HWS-PX-003");
  EXPECT_THAT(asked, IsEmpty());
}

TEST_F(HandOverTest, OneThatIsNotLiveInTimeIsKilledAndTheOldOneLookedAt) {
  to_warming();
  now += seconds(31);
  ProbeResult early = fake::early_probe(ProxyState::kPreInitializing);
  early.epoch = 4;
  give(hand_over::NewProbed{early});
  to_aftermath();
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-024");
  EXPECT_THAT(message(), HasSubstr("PRE_INITIALIZING"));
  EXPECT_FALSE(machine->outcome().old_mute);
}

TEST_F(HandOverTest, OneThatNeverAnswersIsKilledTooAndTheLossIsTold) {
  to_warming();
  now += seconds(31);
  give(hand_over::NewProbed{fake::down()});
  to_aftermath();
  for (int look = 0; look < 2; ++look) {
    give(hand_over::OldProbed{fake::down()});
    ASSERT_THAT(asked, ElementsAre(Deed::kProbeOld));
  }
  give(hand_over::OldProbed{fake::down()});
  EXPECT_THAT(asked, ElementsAre(Deed::kRepair));
  give(hand_over::Repaired{Status()});
  EXPECT_EQ(id(), "HWS-PX-024");
  EXPECT_TRUE(machine->outcome().old_mute);
  EXPECT_THAT(message(), HasSubstr("without its admin interface"));
}

TEST_F(HandOverTest, TheMarkThatItLeftIsTold) {
  to_warming();
  now += seconds(31);
  give(hand_over::NewProbed{fake::down()});
  to_aftermath();
  old_probe.initializing = true;
  give(hand_over::OldProbed{old_probe});
  EXPECT_THAT(asked, ElementsAre(Deed::kRepair));
  give(hand_over::Repaired{Status(fake::down())});
  EXPECT_THAT(message(), HasSubstr("accepts no successor"));
  EXPECT_FALSE(machine->outcome().old_mute);
}

TEST_F(HandOverTest, TheMarkThatItLeftIsTakenOut) {
  to_warming();
  now += seconds(31);
  give(hand_over::NewProbed{fake::down()});
  to_aftermath();
  old_probe.initializing = true;
  give(hand_over::OldProbed{old_probe});
  give(hand_over::Repaired{Status()});
  EXPECT_EQ(id(), "HWS-PX-024");
  EXPECT_THAT(message(), HasSubstr("taken out"));
}

TEST_F(HandOverTest, IsRefusedBetweenVersionsThatDontSpeakToEachOther) {
  candidate = "11.120";
  to_validating();
  validated();
  EXPECT_EQ(id(), "HWS-PX-031");
  EXPECT_THAT(gates(), testing::Contains("!hot_restart_version"));
}

// There's no way back then.
TEST_F(HandOverTest, OfOneThatIsLiveFailedChecksAreToldAndNoMore) {
  to_checking();
  give(hand_over::NewInspected{Inspection{"", "11.104", 0, "", false}});
  EXPECT_EQ(id(), "replaced");
  EXPECT_THAT(gates(), testing::IsSupersetOf({"!certificates", "!workers"}));
  EXPECT_EQ(kills, 0);
}

TEST_F(HandOverTest, OneThatDiesRightAfterItIsLiveIsToldOf) {
  to_checking();
  give(hand_over::NewEnded{});
  reaped(SIGSEGV);
  give(hand_over::OldProbed{fake::down()});
  give(hand_over::OldProbed{fake::down()});
  give(hand_over::OldProbed{fake::down()});
  give(hand_over::Repaired{Status()});
  EXPECT_EQ(id(), "HWS-PX-032");
  EXPECT_TRUE(machine->outcome().old_mute);
}

TEST_F(HandOverTest, AWrongEpochIsKilled) {
  to_warming();
  new_probe.epoch = 0;
  give(hand_over::NewProbed{new_probe});
  to_aftermath();
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-024");
}

// The old one drains from then on: killing the new one would be an outage.
TEST_F(HandOverTest, OneThatIsLiveIsNeverKilledWhateverItLacks) {
  to_warming();
  new_probe.listeners.clear();
  give(hand_over::NewProbed{new_probe});
  EXPECT_THAT(asked, ElementsAre(Deed::kProbeNew));
  now += seconds(31);
  give(hand_over::NewProbed{new_probe});
  checked();
  EXPECT_EQ(id(), "replaced");
  EXPECT_EQ(kills, 0);
}

TEST_F(HandOverTest, AChildThatDiesIsReapedWithItsStatus) {
  to_warming();
  give(hand_over::NewEnded{});
  EXPECT_THAT(asked, ElementsAre(Deed::kReap));
  give(hand_over::Reaped{ReapedGeneration{true, SIGABRT}});
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-024");
  EXPECT_THAT(message(), HasSubstr("SIGABRT"));
}

TEST_F(HandOverTest, AStartThatFailsMayStillRunAndIsEnded) {
  to_validating();
  validated();
  give(hand_over::Launched{Error(Code::kDeadlineExceeded, "HWS-RPC-003", "no answer", "")});
  EXPECT_THAT(asked, ElementsAre(Deed::kKill));
  give(hand_over::Killed{Status(Error(Code::kNotFound, "HWS-BR-022", "none", ""))});
  give(hand_over::Reaped{Error(Code::kNotFound, "HWS-BR-022", "none", "")});
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-RPC-003");
}

TEST_F(HandOverTest, WithoutItsParentTheChildIsKilledAtOnce) {
  to_warming();
  give(hand_over::OldEnded{});
  EXPECT_THAT(asked, ElementsAre(Deed::kKill));
  give(hand_over::Killed{Status()});
  give(hand_over::Reaped{ReapedGeneration{true, SIGKILL}});
  EXPECT_EQ(id(), "HWS-PX-026");
  EXPECT_TRUE(machine->outcome().old_ended);
}

TEST_F(HandOverTest, AParentThatEndsDuringTheStartIsNoticedAfterIt) {
  to_validating();
  validated();
  give(hand_over::OldEnded{});
  EXPECT_THAT(asked, IsEmpty());
  give(hand_over::Launched{StartedGeneration{101, "new"}});
  EXPECT_THAT(asked, ElementsAre(Deed::kKill));
}

TEST_F(HandOverTest, CalledOffItLooksOnceMoreBeforeItKills) {
  to_warming();
  give(hand_over::CallOff{});
  EXPECT_THAT(asked, IsEmpty());
  give(hand_over::NewProbed{fake::down()});
  to_aftermath();
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-027");
}

TEST_F(HandOverTest, CalledOffTooLateItHasTakenOver) {
  to_warming();
  give(hand_over::CallOff{});
  give(hand_over::NewProbed{new_probe});
  checked();
  EXPECT_EQ(id(), "replaced");
}

TEST_F(HandOverTest, AHostThatDoesntAnswerIsAskedAgainButNotForEver) {
  to_warming();
  now += seconds(31);
  give(hand_over::NewProbed{fake::down()});
  int asks = 0;
  while (!machine->done() && asks < 100) {
    ASSERT_THAT(asked, ElementsAre(Deed::kKill));
    give(hand_over::Killed{Status(fake::down())});
    ++asks;
  }
  EXPECT_EQ(asks, 10);
  EXPECT_EQ(id(), "HWS-BR-001");
}

// The new one waits for the old one's answers: the old one that hangs is told by its data path.
struct HungParentTest : HandOverTest {
  HungParentTest() { options.wedge_after = seconds(10); }
  // The new one says nothing for so long; the old one's data path gives that answer each time.
  void silent_for(seconds time, const Status& data_path) {
    for (const auto until = now + time; now < until && machine->step() == HandOver::Step::kWarming;) {
      if (asked.front() == Deed::kAskOld) {
        ++asks;
        now += seconds(2);
        give(hand_over::OldAnswered{data_path});
      } else {
        now += milliseconds(20);
        give(hand_over::NewProbed{fake::down()});
      }
    }
  }
  static Status no_answer() { return Error(Code::kDeadlineExceeded, "HWS-PX-041", "no answer in 2 s", ""); }
  int asks = 0;
};

TEST_F(HungParentTest, BothAreGivenUpWhenNobodyIsServedForLong) {
  to_warming();
  silent_for(seconds(9), no_answer());
  EXPECT_EQ(kills, 0);
  silent_for(seconds(3), no_answer());
  EXPECT_EQ(asks, 4);
  expect(Deed::kKill);
  give(hand_over::Killed{Status()});
  reaped(SIGKILL);
  EXPECT_EQ(id(), "HWS-PX-040") << "without another look at the old one";
  EXPECT_THAT(message(), HasSubstr("f1e3 (pid 100) is wedged"));
  EXPECT_TRUE(machine->outcome().old_hung);
  EXPECT_THAT(gates(), testing::Contains("!parent"));
}

TEST_F(HungParentTest, AnOldOneThatServesOrRefusesIsNotTheCause) {
  for (const Status& data_path : {Status(), Status(Error(Code::kUnavailable, "HWS-PX-041", "refused", ""))}) {
    to_warming();
    silent_for(seconds(40), data_path);
    EXPECT_GE(asks, 8);
    EXPECT_EQ(machine->step(), HandOver::Step::kKilling);
    EXPECT_FALSE(machine->outcome().old_hung);
    EXPECT_THAT(gates(), testing::Contains("!live"));
  }
}

TEST_F(HungParentTest, AnAnswerBeginsTheTimeAnew) {
  to_warming();
  for (int round = 0; round < 3; ++round) {
    silent_for(seconds(6), no_answer());
    silent_for(seconds(2), {});
  }
  EXPECT_EQ(machine->step(), HandOver::Step::kWarming);
}

TEST_F(HungParentTest, IsNotLookedForWhenTheTimeIsZeroOrTheKindOfProxyCantTell) {
  options.wedge_after = seconds(0);
  to_warming();
  silent_for(seconds(40), no_answer());
  options.wedge_after = seconds(10);
  options.can.data_path_probe = false;
  to_warming();
  silent_for(seconds(40), no_answer());
  EXPECT_EQ(asks, 0);
}

TEST_F(HungParentTest, IsNotKilledWhileItsSuccessorCantBeEnded) {
  to_warming();
  silent_for(seconds(12), no_answer());
  while (asked == std::vector{Deed::kKill} && kills < 20) give(hand_over::Killed{Status(fake::down())});
  EXPECT_EQ(id(), "HWS-BR-001");
  EXPECT_FALSE(machine->outcome().old_hung) << "the new one may get what it waits for, and serve";
}

TEST_F(HungParentTest, OneOfWhichNothingIsLeftIsNotKilledForIt) {
  to_warming();
  silent_for(seconds(12), no_answer());
  give(hand_over::Killed{Status()});
  give(hand_over::OldEnded{});
  give(hand_over::Reaped{ReapedGeneration{true, SIGKILL}});
  EXPECT_TRUE(machine->outcome().old_ended);
  EXPECT_EQ(id(), "HWS-PX-026");
}

}  // namespace
}  // namespace hawser::proxy
