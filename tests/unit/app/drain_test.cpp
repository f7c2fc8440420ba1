// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "drain_fixture.h"

namespace hawser {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(DrainTest, WithoutAWordNothingIsSaid) {
  loop.advance(1min);
  EXPECT_THAT(health.items, IsEmpty());
  EXPECT_EQ(drain->describe(), json({{"stage", "none"}}));
  EXPECT_TRUE(has_metric("hawser_draining 0"));
  EXPECT_EQ(end()["stage"], "none");
}

TEST_F(DrainTest, TheFirstStageSendsCallersElsewhereAndLeavesTheProxyAlone) {
  open = {{"0.0.0.0_15006", 2, true}, {"0.0.0.0_15001", 7, false}};
  EXPECT_EQ(begin()["stage"], "withdrawn");
  EXPECT_EQ(withheld, "drained by the operator");
  loop.advance(1s);
  EXPECT_THAT(did, IsEmpty());
  EXPECT_EQ(drain->describe()["connections"], 2);
  EXPECT_EQ(drain->describe()["outbound"], 7);
  EXPECT_EQ(health.items["drain"].id, "HWS-DR-001");
  EXPECT_THAT(health.items["drain"].detail, HasSubstr("2 connections of callers are open"));
  EXPECT_TRUE(has_metric("hawser_draining 1"));
  EXPECT_TRUE(has_metric("hawser_drain_connections 2"));
}

TEST_F(DrainTest, ItIsDrainedWhenCallersHaveHeardAndNoneIsLeft) {
  begin();
  loop.advance(600ms);
  EXPECT_EQ(drain->describe()["drained"], false) << "nobody is connected, but callers may not have heard yet";
  loop.advance(600ms);
  EXPECT_EQ(drain->describe()["drained"], true);
  open = {{"0.0.0.0_15006", 1, true}};
  loop.advance(500ms);
  EXPECT_EQ(drain->describe()["drained"], false);
}

TEST_F(DrainTest, WhoHoldsItUpIsToldTheOldestFirst) {
  open = {{"0.0.0.0_15006", 2, true}, {"127.0.0.1_9080", 0, true}, {"0.0.0.0_15001", 7, false}};
  callers = {{.address = "10.0.0.7", .port = 4000, .local_port = 15006, .received = 5, .idle = 2s, .cookie = 7}};
  begin();
  loop.advance(1s);
  EXPECT_THAT(asked_ports, ElementsAre(15006)) << "inbound ones with connections";
  callers.insert(callers.begin(), {.address = "10.0.0.8", .port = 4001, .local_port = 15006, .cookie = 8});
  loop.advance(1s);
  const json told = drain->describe()["peers"];
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0]["address"], "10.0.0.7");
  EXPECT_EQ(told[0]["idle_ms"], 2000);
  EXPECT_GT(told[0]["seen_for_ms"], told[1]["seen_for_ms"]);
  open.clear();
  loop.advance(1s);
  EXPECT_THAT(drain->describe()["peers"], IsEmpty());
}

TEST_F(DrainTest, ItIsLookedAtSeldomOnceItsTimeIsOver) {
  begin();
  loop.advance(6s);
  EXPECT_GE(looks, 11U);
  const unsigned before = looks;
  loop.advance(60s);
  EXPECT_LE(looks - before, 13U);
  EXPECT_GE(looks - before, 11U);
}

TEST_F(DrainTest, TheTimeIsAsConfiguredOrAsAsked) {
  EXPECT_EQ(begin()["left_ms"], 6000);
  Drain::Order order;
  order.time = 90s;
  EXPECT_EQ(begin(order)["left_ms"], 90000);
  loop.advance(2min);
  EXPECT_EQ(drain->describe()["left_ms"], 0);
}

TEST_F(DrainTest, UndrainBringsCallersBackAtOnce) {
  begin();
  EXPECT_EQ(end()["stage"], "none");
  EXPECT_EQ(withheld, "");
  EXPECT_EQ(health.items["drain"].state, HealthState::kOk);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_THAT(did, IsEmpty());
  loop.advance(1min);
  EXPECT_TRUE(has_metric("hawser_draining 0"));
}

TEST_F(DrainTest, ItOutlivesHawserdAndABoot) {
  begin();
  const json since = drain->describe()["since"];
  withheld.clear();
  make("another-boot");
  EXPECT_EQ(withheld, "drained by the operator");
  EXPECT_EQ(drain->describe()["since"], since);
  EXPECT_EQ(end()["stage"], "none");
  make();
  EXPECT_EQ(drain->describe()["stage"], "none");
}

TEST_F(DrainTest, UntilRebootEndsWithTheBoot) {
  Drain::Order order;
  order.until_reboot = true;
  EXPECT_EQ(begin(order)["until_reboot"], true);
  make();
  EXPECT_EQ(drain->describe()["stage"], "withdrawn");
  withheld.clear();
  make("another-boot");
  EXPECT_EQ(drain->describe()["stage"], "none");
  EXPECT_EQ(withheld, "");
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(DrainTest, ARecordThatCannotBeReadIsSaidAndNobodyIsDrained) {
  for (const char* text : {"", "[]", "{\"stage\": \"all\"}", "{\"stage\": 7}", "not JSON"}) {
    std::ofstream(path) << text;
    make();
    EXPECT_EQ(drain->describe()["stage"], "none") << text;
    EXPECT_EQ(health.items["drain"].id, "HWS-DR-002") << text;
  }
  EXPECT_EQ(end()["stage"], "none");
  EXPECT_EQ(health.items["drain"].state, HealthState::kOk);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_EQ(begin()["stage"], "withdrawn");
  EXPECT_EQ(health.items["drain"].id, "HWS-DR-001");
}

TEST_F(DrainTest, WhatCannotBeKeptIsDoneAndSaid) {
  std::filesystem::remove_all(folder);
  const json answer = begin();
  EXPECT_EQ(answer["kept"], false);
  EXPECT_EQ(withheld, "drained by the operator");
  EXPECT_EQ(health.items["drain"].id, "HWS-DR-002");
}

// ---- listeners

TEST_F(DrainTest, ListenersAreDrainedWhenItIsKept) {
  Drain::Order order;
  order.listeners = true;
  EXPECT_EQ(begin(order)["stage"], "listeners");
  EXPECT_THAT(did, ElementsAre("drain f1e0, kept"));
  EXPECT_EQ(expected, 101);
  EXPECT_TRUE(drain->listeners_closed());
  EXPECT_TRUE(has_metric("hawser_draining 2"));
  // Once is enough.
  begin(order);
  EXPECT_EQ(begin()["stage"], "listeners");
  EXPECT_EQ(did.size(), 1U);
}

TEST_F(DrainTest, AfterARebootAProxyWithTheSameNumberIsDrainedToo) {
  Drain::Order order;
  order.listeners = true;
  begin(order);
  make();
  drain->on_serving();
  loop.run_ready();
  EXPECT_EQ(did.size(), 1U) << "it's the same proxy";
  make("another-boot");
  EXPECT_EQ(expected, 0);
  drain->on_serving();
  loop.run_ready();
  EXPECT_THAT(did, ElementsAre("drain f1e0, kept", "drain f1e0, kept"));
  EXPECT_EQ(expected, 101);
  EXPECT_EQ(drain->describe()["stage"], "listeners");
}

TEST_F(DrainTest, AProxyThatRefusesToDrainLeavesTheFirstStage) {
  drains = Error(Code::kUnavailable, "HWS-PX-001", "no answer");
  Drain::Order order;
  order.listeners = true;
  EXPECT_EQ(begin(order), "HWS-PX-001");
  EXPECT_EQ(expected, 0);
  EXPECT_EQ(drain->describe()["stage"], "withdrawn");
  make();
  EXPECT_EQ(drain->describe()["stage"], "withdrawn");
  drains = {};
  EXPECT_EQ(begin(order)["stage"], "listeners");
}

TEST_F(DrainTest, WhoGivesNoAnswerIsAskedAgainAndStaysExcused) {
  drains = Error(Code::kDeadlineExceeded, "HWS-PX-001", "no answer");
  Drain::Order order;
  order.listeners = true;
  EXPECT_EQ(begin(order), "HWS-PX-001");
  EXPECT_EQ(did.size(), 3U);
  EXPECT_EQ(expected, 101) << "it may drain all the same";
  EXPECT_EQ(drain->describe()["stage"], "withdrawn");
}

TEST_F(DrainTest, AHostThatLeavesMeanwhileIsNotDrainedAgain) {
  slow_answers = true;
  Drain::Order order;
  order.listeners = true;
  EXPECT_EQ(begin(order), "none yet");
  drain->forget();
  loop.run_ready();
  ASSERT_EQ(answers.size(), 1U);
  answers.front()(Error(Code::kDeadlineExceeded, "HWS-PX-001", "no answer"));
  loop.run_ready();
  EXPECT_EQ(did.size(), 1U);
  EXPECT_EQ(drain->describe()["stage"], "none");
  make();
  EXPECT_EQ(drain->describe()["stage"], "none");
}

TEST_F(DrainTest, ADrainThatFollowsAnUndrainAtOnceStands) {
  begin();
  drain->end([](const Result<std::string>&) {});
  EXPECT_EQ(begin()["stage"], "withdrawn");
  EXPECT_EQ(withheld, "drained by the operator");
}

TEST_F(DrainTest, WithoutAProxyListenersCannotBeDrainedAndNothingHasHappened) {
  serving.reset();
  Drain::Order order;
  order.listeners = true;
  EXPECT_EQ(begin(order), "HWS-DR-003");
  EXPECT_EQ(withheld, "");
  EXPECT_EQ(begin()["stage"], "withdrawn");
}

TEST_F(DrainTest, AnAdoptedProxyIsKnownToBeDrainedAndOneThatComesAfterItIsDrained) {
  Drain::Order order;
  order.listeners = true;
  begin(order);
  expected = 0;
  serving.reset();
  make();
  EXPECT_EQ(expected, 101) << "before it's adopted";
  serving = Drain::Proxy::Serving{"f1e0", 101};
  drain->on_serving();
  EXPECT_EQ(did.size(), 1U);
  serving = Drain::Proxy::Serving{"f1e1", 102};
  drain->on_serving();
  loop.run_ready();
  EXPECT_THAT(did, ElementsAre("drain f1e0, kept", "drain f1e1, kept"));
  EXPECT_EQ(expected, 102);
}

TEST_F(DrainTest, LeavingForgetsIt) {
  begin();
  drain->forget();
  loop.run_ready();
  make();
  EXPECT_EQ(drain->describe()["stage"], "none");
}

}  // namespace
}  // namespace hawser
