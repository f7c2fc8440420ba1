// SPDX-License-Identifier: Apache-2.0
// Drained listeners come back: by another proxy, or not at all.
#include <nlohmann/json.hpp>

#include "drain_fixture.h"

namespace hawser {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;
using testing::HasSubstr;

TEST_F(DrainTest, ListenersComeBackByAnotherProxyAndCallersAfterIt) {
  Drain::Order order;
  order.listeners = true;
  begin(order);
  EXPECT_EQ(end(), "none yet");
  EXPECT_EQ(did.back(), "restart hot-restart");
  EXPECT_EQ(withheld, "drained by the operator");
  // Meanwhile nothing else is asked for.
  EXPECT_EQ(begin(), "HWS-DR-004");
  EXPECT_EQ(end(), "HWS-DR-004");
  serving = Drain::Proxy::Serving{"f1e1", 102};
  drain->on_serving();
  restarted({});
  loop.run_ready();
  EXPECT_EQ(withheld, "");
  EXPECT_EQ(expected, 0);
  EXPECT_EQ(drain->describe()["stage"], "none");
  EXPECT_EQ(did.size(), 2U);
}

TEST_F(DrainTest, WhereAHotRestartIsRefusedAPlannedColdStartBringsThemBack) {
  close_listeners();
  EXPECT_EQ(end(), "none yet");
  refuse("HWS-PX-023");
  EXPECT_EQ(did.back(), "restart planned-cold");
  EXPECT_EQ(expected, 101) << "as long as it's the one that runs";
  EXPECT_EQ(withheld, "drained by the operator");
  serving = Drain::Proxy::Serving{"f2e0", 102};
  std::exchange(restarted, nullptr)({});
  loop.run_ready();
  EXPECT_EQ(withheld, "");
  EXPECT_EQ(drain->describe()["stage"], "none");
}

// Own programs still have the proxy whose listeners are drained.
TEST_F(DrainTest, WhereNoOtherProxyCouldServeTheDrainStands) {
  const std::vector<std::vector<std::string>> all = {
      {"HWS-PX-035"}, {"HWS-PX-038"}, {"HWS-PX-024"}, {"HWS-PX-045"}, {"HWS-PX-023", "HWS-PX-003"}};
  for (const auto& refusals : all) {
    close_listeners();
    const auto said = end_later();
    for (const auto& id : refusals) refuse(id);
    ASSERT_TRUE(*said) << refusals.back();
    EXPECT_EQ((*said)->error().id(), "HWS-DR-006");
    EXPECT_THAT((*said)->error().message(), HasSubstr(refusals.back()));
    EXPECT_EQ(expected, 101) << "its closed listeners are no fault";
    EXPECT_EQ(drain->describe()["stage"], "listeners");
    EXPECT_EQ(withheld, "drained by the operator");
    make();
    EXPECT_EQ(drain->describe()["stage"], "listeners");
    // What stood in the way is gone.
    EXPECT_EQ(end(), "none yet");
    serving = Drain::Proxy::Serving{"f1e1", 102};
    std::exchange(restarted, nullptr)({});
    loop.run_ready();
    EXPECT_EQ(drain->describe()["stage"], "none");
    serving = Drain::Proxy::Serving{"f1e0", 101};
  }
}

TEST_F(DrainTest, APredecessorIsWaitedFor) {
  close_listeners();
  const auto said = end_later();
  for (int second = 0; second < 3; ++second) {
    refuse("HWS-PX-021");
    EXPECT_EQ(did.back(), "restart planned-cold");
    refuse("HWS-PX-021");
    EXPECT_FALSE(restarted);
    loop.advance(1s);
    EXPECT_EQ(did.back(), "restart hot-restart");
  }
  for (int second = 0; second < 100 && !*said; ++second) {
    refuse("HWS-PX-020");
    loop.advance(1s);
  }
  ASSERT_TRUE(*said) << "not for ever";
  EXPECT_EQ((*said)->error().id(), "HWS-DR-006");
  EXPECT_EQ(drain->describe()["stage"], "listeners");
}

TEST_F(DrainTest, AnotherThatComesMeanwhileIsNotReplaced) {
  close_listeners();
  EXPECT_EQ(end(), "none yet");
  refuse("HWS-PX-020");
  const auto asked = did.size();
  serving = Drain::Proxy::Serving{"f2e0", 102};
  drain->on_serving();
  loop.advance(5s);
  EXPECT_EQ(did.size(), asked);
  EXPECT_EQ(expected, 0);
  EXPECT_EQ(withheld, "");
  EXPECT_EQ(drain->describe()["stage"], "none");
}

// It's gone: the supervisor starts another one.
TEST_F(DrainTest, IfTheDrainedProxyIsGoneTheNextOneTakesCallers) {
  close_listeners();
  end();
  serving.reset();
  refuse("HWS-PX-026");
  EXPECT_EQ(withheld, "drained by the operator") << "until another proxy takes callers";
  serving = Drain::Proxy::Serving{"f1e0", 103};
  drain->on_serving();
  loop.run_ready();
  EXPECT_EQ(withheld, "");
  EXPECT_EQ(expected, 0);
  EXPECT_EQ(drain->describe()["stage"], "none");
}

TEST_F(DrainTest, ADrainedProxyThatHawserdHasntSeenLiveYetIsNotTakenForOneThatIsGone) {
  close_listeners();
  make();
  serving.reset();
  EXPECT_EQ(end(), "none yet");
  refuse("HWS-PX-021");
  refuse("HWS-PX-021");
  EXPECT_EQ(expected, 101) << "its closed listeners are no fault";
  loop.advance(3s);
  serving = Drain::Proxy::Serving{"f1e0", 101};
  drain->on_serving();
  EXPECT_EQ(did.back(), "restart hot-restart");
  EXPECT_TRUE(restarted);
}

TEST_F(DrainTest, TheDrainedOneThatIsFoundAgainIsNoOtherOne) {
  close_listeners();
  EXPECT_EQ(end(), "none yet");
  std::exchange(restarted, nullptr)({});
  loop.run_ready();
  EXPECT_EQ(expected, 101);
  EXPECT_EQ(withheld, "drained by the operator");
  loop.advance(1s);
  EXPECT_EQ(did.back(), "restart hot-restart");
}

TEST_F(DrainTest, AHawserdThatDiesBeforeListenersAreBackLeavesTheDrain) {
  close_listeners();
  end();
  expected = 0;
  make();
  EXPECT_EQ(drain->describe()["stage"], "listeners");
  EXPECT_EQ(expected, 101) << "own programs have no other one";
}

TEST_F(DrainTest, WhoWaitsForListenersIsToldThatTheHostLeaves) {
  close_listeners();
  auto said = end_later();
  refuse("HWS-PX-020");
  drain->forget();
  loop.advance(3s);
  ASSERT_TRUE(*said);
  EXPECT_EQ((*said)->error().id(), "HWS-DR-004");
  // While another one is being started, too.
  close_listeners();
  said = end_later();
  drain->forget();
  refuse("HWS-PX-024");
  ASSERT_TRUE(*said);
  EXPECT_EQ((*said)->error().id(), "HWS-DR-004");
}

}  // namespace
}  // namespace hawser
