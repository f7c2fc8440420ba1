// SPDX-License-Identifier: Apache-2.0
#include "proxy/hand_over.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "fakes.h"

namespace hawser::proxy {
namespace {

using hand_over::Deed;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The machine alone: what it asks for is recorded, and each test answers by hand.
struct HandOverTest : testing::Test {
  HandOverTest() {
    options.old_id = {1, 3};
    options.old_pid = 100;
    options.required_ports = {15001, 15006};
    old_probe = fake::live_probe();
    old_probe.epoch = 3;
    new_probe = fake::live_probe();
    new_probe.epoch = 4;
  }

  void take(const std::vector<hand_over::Action>& actions) {
    asked.clear();
    for (const auto& action : actions) {
      asked.push_back(action.deed);
      if (action.deed == Deed::kKill) ++kills;
    }
  }
  void begin() {
    machine.emplace(options);
    take(machine->begin());
  }
  template <typename Event>
  void give(Event event) {
    take(machine->handle(std::move(event), now));
  }
  void to_proving() {
    begin();
    give(hand_over::Observed{std::vector<HostedGeneration>{{"f1e3", 100, true, 0, "5ha", {}}}});
  }
  void to_warming() {
    to_proving();
    give(hand_over::OldProbed{old_probe});
    give(hand_over::Validated{Validation{true, "", "1.40.0"}});
    EXPECT_THAT(asked, ElementsAre(Deed::kLaunch));
    give(hand_over::Launched{StartedGeneration{101, "new"}});
    EXPECT_THAT(asked, ElementsAre(Deed::kProbeNew));
  }
  // The child is killed and reaped; then the old one is looked at.
  void to_aftermath() {
    EXPECT_THAT(asked, ElementsAre(Deed::kKill));
    give(hand_over::Killed{Status()});
    EXPECT_THAT(asked, ElementsAre(Deed::kReap));
    give(hand_over::Reaped{ReapedGeneration{true, SIGKILL}});
    EXPECT_THAT(asked, ElementsAre(Deed::kProbeOld));
  }
  std::string id() const { return machine->outcome().error ? machine->outcome().error->id() : "replaced"; }
  std::string message() const { return machine->outcome().error ? machine->outcome().error->message() : ""; }

  HandOverOptions options;
  ProbeResult old_probe;
  ProbeResult new_probe;
  std::optional<HandOver> machine;
  std::vector<Deed> asked;
  int kills = 0;
  Loop::Monotonic now{};
};

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
  ASSERT_TRUE(machine->done());
  EXPECT_EQ(id(), "replaced");
  EXPECT_EQ(machine->outcome().pid, 101);
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
  to_proving();
  old_probe.initializing = true;
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-022");
  EXPECT_THAT(machine->outcome().error->hint(), HasSubstr("100"));
}

TEST_F(HandOverTest, IsRefusedWithFewerWorkersButNotWithMore) {
  options.concurrency = 1;
  to_proving();
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-021");
  options.concurrency = 4;
  to_proving();
  give(hand_over::OldProbed{old_probe});
  EXPECT_THAT(asked, ElementsAre(Deed::kValidate));
}

TEST_F(HandOverTest, IsRefusedWithoutRoomForTwo) {
  options.room = MemoryRoom{119, 100};
  to_proving();
  give(hand_over::OldProbed{old_probe});
  EXPECT_EQ(id(), "HWS-PX-023");
  options.room = MemoryRoom{120, 100};
  to_proving();
  give(hand_over::OldProbed{old_probe});
  EXPECT_FALSE(machine->done());
}

TEST_F(HandOverTest, IsRefusedAtTheLastEpoch) {
  options.old_id.epoch = GenerationId::kMaxEpoch;
  begin();
  EXPECT_EQ(id(), "HWS-PX-021");
  EXPECT_THAT(asked, IsEmpty());
}

TEST_F(HandOverTest, ABootstrapThatIsRefusedStartsNothing) {
  to_proving();
  give(hand_over::OldProbed{old_probe});
  give(hand_over::Validated{Validation{false, "no such field", ""}});
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
  EXPECT_THAT(message(), HasSubstr("accepts no successor"));
  EXPECT_FALSE(machine->outcome().old_mute);
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
  to_proving();
  give(hand_over::OldProbed{old_probe});
  give(hand_over::Validated{Validation{true, "", ""}});
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
  to_proving();
  give(hand_over::OldProbed{old_probe});
  give(hand_over::Validated{Validation{true, "", ""}});
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

}  // namespace
}  // namespace hawser::proxy
