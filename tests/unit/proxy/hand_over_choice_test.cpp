// SPDX-License-Identifier: Apache-2.0
// Which hand-over is chosen, and what a plan tells.
#include "hand_over_fixture.h"

namespace hawser::proxy {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

struct ChoiceTest : HandOverTest {
  ChoiceTest() { options.request.kind.reset(); }
  std::string kind() const { return std::string(hand_over_name(machine->kind())); }
  const std::string& why() const { return machine->outcome().why; }
};

TEST(HandOverNames, AreThoseOfTheConfiguration) {
  EXPECT_EQ(hand_over_kind("side-by-side"), HandOverKind::kSideBySide);
  EXPECT_EQ(hand_over_kind("hot-restart"), HandOverKind::kHotRestart);
  EXPECT_EQ(hand_over_kind("planned-cold"), HandOverKind::kPlannedCold);
  EXPECT_FALSE(hand_over_kind("auto"));
  EXPECT_FALSE(hand_over_kind(""));
}

TEST_F(ChoiceTest, SideBySideWhereEveryListenerCanBeShared) {
  inspection.unshared.clear();
  options.queues_move = true;
  to_validating();
  EXPECT_EQ(kind(), "side-by-side");
  EXPECT_THAT(why(), HasSubstr("shared"));
}

TEST_F(ChoiceTest, HotRestartWhereWhoWaitsAtAClosedListenerWouldBeReset) {
  inspection.unshared.clear();
  to_validating();
  EXPECT_EQ(kind(), "hot-restart");
  EXPECT_THAT(why(), HasSubstr("tcp_migrate_req"));
}

TEST_F(ChoiceTest, SideBySideBetweenVersionsThatDontFitIfListenersCanBeShared) {
  inspection.unshared.clear();
  candidate = "11.120";
  to_validating();
  validated();
  expect(Deed::kValidate);
  EXPECT_EQ(kind(), "side-by-side");
  EXPECT_THAT(why(), HasSubstr("11.120"));
  EXPECT_THAT(gates(), Contains("!hot_restart_version"));
  validated();
  expect(Deed::kLaunch);
}

TEST_F(ChoiceTest, SideBySideOfOneWhoseMarkStaysIfListenersCanBeShared) {
  inspection.unshared.clear();
  old_probe.initializing = true;
  inspect();
  expect(Deed::kRepair);
  give(hand_over::Repaired{Status(fake::down())});
  expect(Deed::kValidate);
  EXPECT_EQ(kind(), "side-by-side");
}

TEST_F(ChoiceTest, SideBySideAfterTheLastEpochOfAFamily) {
  inspection.unshared.clear();
  options.old_id.epoch = GenerationId::kMaxEpoch;
  old_probe.epoch = GenerationId::kMaxEpoch;
  begin();
  give(hand_over::Observed{
      std::vector<HostedGeneration>{{GenerationId{1, GenerationId::kMaxEpoch}.text(), 100, true, 0, "5ha", {}}}});
  give(hand_over::OldProbed{old_probe});
  give(hand_over::OldInspected{inspection});
  EXPECT_EQ(kind(), "side-by-side");
}

TEST_F(ChoiceTest, HotRestartWhereOneCant) {
  to_validating();
  EXPECT_EQ(kind(), "hot-restart");
  EXPECT_THAT(why(), HasSubstr("enable_reuse_port: false"));
  EXPECT_EQ(machine->new_name(), "f1e4");
}

TEST_F(ChoiceTest, PlannedColdBetweenVersionsThatDontFitIfThatIsAllowed) {
  candidate = "11.120";
  to_validating();
  validated();
  EXPECT_EQ(id(), "HWS-PX-031");
  options.cold_allowed = true;
  to_validating();
  validated();
  expect(Deed::kValidate);  // its bootstrap has another name in it
  EXPECT_EQ(kind(), "planned-cold");
  EXPECT_THAT(why(), HasSubstr("11.120"));
  EXPECT_EQ(machine->workers(), 0U);
  validated();
  expect(Deed::kDrainOld);
}

TEST_F(ChoiceTest, PlannedColdOfOneThatCantBeAskedIfThatIsAllowed) {
  to_proving();
  give(hand_over::OldProbed{fake::down()});
  EXPECT_EQ(id(), "HWS-PX-021");
  options.cold_allowed = true;
  to_proving();
  give(hand_over::OldProbed{fake::down()});
  expect(Deed::kValidate);
  EXPECT_EQ(kind(), "planned-cold");
}

TEST_F(ChoiceTest, PlannedColdOfOneWhoseMarkStaysIfThatIsAllowed) {
  options.cold_allowed = true;
  old_probe.initializing = true;
  inspect();
  expect(Deed::kRepair);
  give(hand_over::Repaired{Status(fake::down())});
  expect(Deed::kValidate);
  EXPECT_EQ(kind(), "planned-cold");
  EXPECT_THAT(gates(), Contains("!mark"));
}

TEST_F(ChoiceTest, WhatIsAskedForIsTakenAndNothingElse) {
  inspection.unshared.clear();
  options.request.kind = HandOverKind::kHotRestart;
  options.cold_allowed = true;
  candidate = "11.120";
  to_validating();
  EXPECT_EQ(kind(), "hot-restart");
  validated();
  EXPECT_EQ(id(), "HWS-PX-031");
}

TEST_F(ChoiceTest, APlanEndsBeforeAnythingIsStarted) {
  options.request.plan = true;
  to_validating();
  validated();
  EXPECT_EQ(id(), "replaced");  // nothing stands against it
  EXPECT_THAT(asked, IsEmpty());
  EXPECT_EQ(machine->outcome().pid, 0);
}

TEST_F(ChoiceTest, APlanTellsAllThatStandsAgainstItAndTheFirstAsTheReason) {
  options.request.plan = true;
  options.concurrency = 1;
  options.room = MemoryRoom{1, 100};
  to_validating();
  give(hand_over::Validated{Validation{false, "no such field", "", ""}});
  EXPECT_EQ(id(), "HWS-PX-021");
  EXPECT_THAT(gates(), testing::IsSupersetOf({"!concurrency", "!memory", "!validate"}));
}

TEST_F(ChoiceTest, APlanRepairsNothing) {
  options.request.plan = true;
  old_probe.initializing = true;
  to_validating();
  EXPECT_THAT(gates(), Contains("!mark"));
}

TEST_F(ChoiceTest, APlanBesideAPredecessorSaysSo) {
  options.request.plan = true;
  begin();
  give(hand_over::Observed{
      std::vector<HostedGeneration>{{"f1e2", 99, true, 0, "a", {}}, {"f1e3", 100, true, 0, "b", {}}}});
  give(hand_over::OldProbed{old_probe});
  give(hand_over::OldInspected{inspection});
  validated();
  EXPECT_EQ(id(), "HWS-PX-021");
  EXPECT_THAT(message(), HasSubstr("f1e2"));
}

TEST_F(ChoiceTest, TheBinaryThatIsAskedForIsTheOneThatIsStarted) {
  options.request.binary_sha256 = "d1ge57";
  begin();
  EXPECT_EQ(machine->binary(), "d1ge57");
}

}  // namespace
}  // namespace hawser::proxy
