// SPDX-License-Identifier: Apache-2.0
#include "status/health_items.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/fake_loop.h"
#include "status/time_text.h"

namespace hawser::status {
namespace {

using nlohmann::json;

struct HealthItemsTest : testing::Test {
  FakeLoop loop;
  Metrics metrics;
  HealthItems items{loop, metrics};
  Error error{Code::kUnavailable, "HWS-XX-001", "no answer", "start it"};
};

TEST(UtcText, WritesMillisecondsAndZulu) {
  EXPECT_EQ(utc_text(Loop::Wall(std::chrono::milliseconds(1'700'000'000'042))), "2023-11-14T22:13:20.042Z");
}

TEST(UtcText, RoundsDownBeforeTheEpochToo) {
  EXPECT_EQ(utc_text(Loop::Wall(std::chrono::milliseconds(-1))), "1969-12-31T23:59:59.999Z");
}

TEST_F(HealthItemsTest, AllIsWellWithoutItems) {
  EXPECT_EQ(items.overall(), HealthState::kOk);
  EXPECT_EQ(items.worst_line(), "");
  EXPECT_EQ(items.items_json(), "[]");
}

TEST_F(HealthItemsTest, TheWorstStateWins) {
  items.report("proxy", HealthState::kOk, "LIVE", nullptr);
  items.report("xds", HealthState::kDegraded, "not connected", &error);
  items.report("identity", HealthState::kStarting, "asking", nullptr);
  EXPECT_EQ(items.overall(), HealthState::kDegraded);
  EXPECT_EQ(items.worst_line(), "xds: not connected (fix: start it) [HWS-XX-001]");
}

TEST_F(HealthItemsTest, SinceIsTheStatesAndNotTheDetails) {
  items.report("proxy", HealthState::kStarting, "validating", nullptr);
  const auto began = items.items().front().since;
  loop.advance(std::chrono::seconds(1));
  items.report("proxy", HealthState::kStarting, "starting", nullptr);
  EXPECT_EQ(items.items().front().since, began);
  EXPECT_EQ(items.items().front().detail, "starting");
  items.report("proxy", HealthState::kOk, "LIVE", nullptr);
  EXPECT_EQ(items.items().front().since, began + std::chrono::seconds(1));
}

TEST_F(HealthItemsTest, RemembersChangesAndNothingElse) {
  items.report("xds", HealthState::kStarting, "dialling", nullptr);
  items.report("xds", HealthState::kStarting, "dialling again", nullptr);
  loop.advance(std::chrono::seconds(1));
  items.report("xds", HealthState::kFailed, "refused", &error);
  items.report("xds", HealthState::kFailed, "refused again", &error);
  const auto all = json::parse(items.transitions_json(0));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]["from"], "");
  EXPECT_EQ(all[0]["to"], "starting");
  EXPECT_EQ(all[1]["from"], "starting");
  EXPECT_EQ(all[1]["to"], "failed");
  EXPECT_EQ(all[1]["detail"], "refused");
  EXPECT_EQ(all[1]["error"], "HWS-XX-001");
  EXPECT_EQ(json::parse(items.transitions_json(all[0]["id"])).size(), 1U);
  // A later hawserd counts on from its own start.
  loop.set_wall(loop.wall() + std::chrono::hours(1));
  HealthItems later(loop, metrics);
  later.report("xds", HealthState::kOk, "connected", nullptr);
  EXPECT_EQ(json::parse(later.transitions_json(all[1]["id"])).size(), 1U);
  for (int i = 0; i < 300; ++i)
    items.report("xds", i % 2 == 0 ? HealthState::kOk : HealthState::kStarting, "", nullptr);
  EXPECT_EQ(items.transitions().size(), HealthItems::kTransitions);
}

TEST_F(HealthItemsTest, JsonHasTheFixOnlyWhileThereIsTrouble) {
  items.report("xds", HealthState::kFailed, "refused", &error);
  auto row = json::parse(items.items_json())[0];
  EXPECT_EQ(row["name"], "xds");
  EXPECT_EQ(row["state"], "failed");
  EXPECT_EQ(row["fix"], "start it");
  EXPECT_EQ(row["id"], "HWS-XX-001");
  items.report("xds", HealthState::kOk, "connected", &error);
  row = json::parse(items.items_json())[0];
  EXPECT_EQ(row["fix"], "");
  EXPECT_EQ(row["id"], "");
}

TEST_F(HealthItemsTest, BytesThatAreNoTextDoNotBreakTheDocument) {
  items.report("proxy", HealthState::kFailed, "said \xff\xfe", &error);
  EXPECT_FALSE(json::parse(items.items_json(), nullptr, false).is_discarded());
}

TEST_F(HealthItemsTest, TheMetricFollowsTheState) {
  items.report("proxy", HealthState::kDegraded, "waiting", &error);
  EXPECT_NE(metrics.text().find("hawser_health{item=\"proxy\"} 2"), std::string::npos) << metrics.text();
  items.clear();
  EXPECT_NE(metrics.text().find("hawser_health{item=\"proxy\"} 0"), std::string::npos);
  EXPECT_TRUE(items.items().empty());
}

}  // namespace
}  // namespace hawser::status
