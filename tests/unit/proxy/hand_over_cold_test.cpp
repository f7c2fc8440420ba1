// SPDX-License-Identifier: Apache-2.0
// A planned cold start: the old one ends first.
#include "hand_over_fixture.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

struct PlannedColdTest : HandOverTest {
  PlannedColdTest() {
    options.request.kind = HandOverKind::kPlannedCold;
    new_probe.epoch = 0;
  }
  void to_draining() {
    to_validating();
    validated();
    expect(Deed::kDrainOld);
  }
  void to_ending() {
    to_draining();
    give(hand_over::Drained{Status()});
    expect(Deed::kCountOld);
    give(hand_over::Counted{std::uint64_t{0}});
    give(hand_over::Counted{std::uint64_t{0}});
    EXPECT_THAT(asked, ElementsAre(Deed::kEndOld, Deed::kWait));
  }
  void to_starting() {
    to_ending();
    now += milliseconds(10);
    give(hand_over::OldEnded{});
    expect(Deed::kLaunch);
    give(hand_over::Launched{StartedGeneration{101, "new"}});
    expect(Deed::kProbeNew);
  }
};

TEST_F(PlannedColdTest, TheOldOneDrainsAndEndsThenTheNewOneStartsAndTheOutageIsTold) {
  to_starting();
  EXPECT_EQ(machine->new_name(), "f2e0");
  now += milliseconds(200);
  give(hand_over::NewProbed{new_probe});
  checked();
  EXPECT_EQ(id(), "replaced");
  EXPECT_EQ(machine->outcome().refused, milliseconds(210));
  EXPECT_TRUE(machine->outcome().old_ended);
  EXPECT_THAT(gates(), ElementsAre("predecessor", "ready", "validate", "drained", "gone", "launched", "live", "epoch",
                                   "listeners", "certificates", "workers"));
}

TEST_F(PlannedColdTest, ABadBootstrapEndsNothing) {
  to_validating();
  give(hand_over::Validated{Validation{false, "no such field", "", ""}});
  EXPECT_EQ(id(), "HWS-PX-003");
  EXPECT_THAT(asked, IsEmpty());
}

TEST_F(PlannedColdTest, TheDrainIsBounded) {
  to_draining();
  give(hand_over::Drained{Status()});
  now += seconds(4);
  give(hand_over::Counted{std::uint64_t{3}});
  expect(Deed::kCountOld);
  now += seconds(1);
  give(hand_over::Counted{std::uint64_t{3}});
  EXPECT_THAT(asked, ElementsAre(Deed::kEndOld, Deed::kWait));
  EXPECT_THAT(gates(), Contains("!drained"));
}

TEST_F(PlannedColdTest, OneThatCantDrainOrCountIsEndedAllTheSame) {
  to_draining();
  give(hand_over::Drained{Status(fake::down())});
  EXPECT_THAT(asked, ElementsAre(Deed::kEndOld, Deed::kWait));
  to_draining();
  give(hand_over::Drained{Status()});
  give(hand_over::Counted{fake::down()});
  give(hand_over::Counted{fake::down()});
  give(hand_over::Counted{fake::down()});
  EXPECT_THAT(asked, ElementsAre(Deed::kEndOld, Deed::kWait));
}

TEST_F(PlannedColdTest, OneThatCantEvenBeAskedIsReplacedToo) {
  to_proving();
  give(hand_over::OldProbed{fake::down()});
  expect(Deed::kValidate);
  validated();
  EXPECT_THAT(asked, ElementsAre(Deed::kEndOld, Deed::kWait));
  EXPECT_THAT(gates(), Contains("!ready"));
}

TEST_F(PlannedColdTest, NeedsNeitherRoomForTwoNorAFreeMarkNorAllWorkers) {
  options.room = MemoryRoom{1, 100};
  options.concurrency = 1;
  old_probe.initializing = true;
  candidate = "12.1";
  to_starting();
}

TEST_F(PlannedColdTest, OneThatDoesntEndIsKilledAndIfThatFailsNothingIsStarted) {
  to_ending();
  give(hand_over::Waited{});
  EXPECT_THAT(asked, ElementsAre(Deed::kKillOld, Deed::kWait));
  give(hand_over::Waited{});
  EXPECT_EQ(id(), "HWS-PX-007");
  EXPECT_FALSE(machine->outcome().old_ended);
}

TEST_F(PlannedColdTest, OneThatEndsWhileItDrainsIsFollowedAtOnce) {
  to_draining();
  give(hand_over::OldEnded{});
  expect(Deed::kLaunch);
}

TEST_F(PlannedColdTest, ANewOneThatIsNotLiveIsKilledAndTheLossOfTheOldOneIsTold) {
  to_starting();
  now += seconds(31);
  give(hand_over::NewProbed{fake::down()});
  expect(Deed::kKill);
  give(hand_over::Killed{Status()});
  reaped(SIGKILL);
  EXPECT_EQ(id(), "HWS-PX-024");
  EXPECT_TRUE(machine->outcome().old_ended);
}

TEST_F(PlannedColdTest, ANewOneThatDiesIsReapedAndTheLossOfTheOldOneIsTold) {
  to_starting();
  give(hand_over::NewEnded{});
  reaped(SIGABRT);
  EXPECT_EQ(id(), "HWS-PX-024");
  EXPECT_TRUE(machine->outcome().old_ended);
}

TEST_F(PlannedColdTest, CanBeCalledOffUntilTheDrain) {
  to_validating();
  EXPECT_TRUE(machine->may_be_called_off());
  validated();
  EXPECT_FALSE(machine->may_be_called_off());
}

TEST_F(PlannedColdTest, StoppedWhileItDrainsNothingIsEndedHere) {
  to_draining();
  give(hand_over::CallOff{"the proxy is to end"});
  EXPECT_EQ(id(), "HWS-PX-027");
  EXPECT_THAT(asked, IsEmpty());
}

}  // namespace
}  // namespace hawser::proxy
