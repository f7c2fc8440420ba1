// SPDX-License-Identifier: Apache-2.0
#include "registration/inbound_healer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fake_loop.h"
#include "recorded_health.h"

namespace hawser::registration {
namespace {

using testing::HasSubstr;

struct HealerTest : testing::Test {
  std::unique_ptr<InboundHealer> make(std::vector<std::uint16_t> ports) {
    return std::make_unique<InboundHealer>(
        loop, metrics,
        [this](const std::function<void(std::vector<std::string>)>& use) {
          ++looked;
          use(names);
        },
        [this](const std::string&) {
          reconnected.push_back(loop.now());
          if (heal_after == reconnected.size()) names.emplace_back("inbound|8080||");
        },
        std::move(ports), &health);
  }
  double heals() const {
    const std::string text = metrics.text();
    const std::string key = "\nhawser_inbound_cluster_heals_total ";
    const auto at = text.find(key);
    return at == std::string::npos ? 0 : std::stod(text.substr(at + key.size()));
  }

  FakeLoop loop;
  Metrics metrics;
  RecordedHealth health;
  std::vector<std::string> names = {"outbound|80||reviews.demo.svc.cluster.local", "BlackHoleCluster"};
  std::vector<Loop::Monotonic> reconnected;
  std::size_t heal_after = 0;
  int looked = 0;
};

TEST_F(HealerTest, DoesNothingBeforeTheFirstHealthyReport) {
  auto healer = make({8080});
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(looked, 0);
}

TEST_F(HealerTest, SettlesWhenTheClustersCome) {
  auto healer = make({8080});
  std::vector<bool> settled;
  healer->on_settled([&](bool complete) { settled.push_back(complete); });
  healer->on_healthy();
  loop.advance(std::chrono::milliseconds(900));
  EXPECT_TRUE(settled.empty()) << "callers would meet a 503";
  names.emplace_back("inbound|8080||");
  loop.advance(std::chrono::milliseconds(150));
  EXPECT_THAT(settled, testing::ElementsAre(true));
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(settled.size(), 1U);
  EXPECT_TRUE(reconnected.empty());
}

TEST_F(HealerTest, SettlesWithoutThemAfterSixSecondsAndHealsOn) {
  auto healer = make({8080});
  std::vector<bool> settled;
  healer->on_settled([&](bool complete) { settled.push_back(complete); });
  healer->on_healthy();
  loop.advance(std::chrono::milliseconds(5900));
  EXPECT_TRUE(settled.empty());
  loop.advance(std::chrono::milliseconds(200));
  EXPECT_THAT(settled, testing::ElementsAre(false));
  EXPECT_EQ(healer->lacking(), "port 8080");
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(settled.size(), 1U);
  EXPECT_EQ(healer->heals(), 5U);
}

TEST_F(HealerTest, ACompleteWorkloadIsLeftAlone) {
  names.emplace_back("inbound|8080||");
  auto healer = make({8080});
  healer->on_healthy();
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(looked, 1);
  EXPECT_TRUE(reconnected.empty());
  EXPECT_EQ(heals(), 0);
}

TEST_F(HealerTest, AMissingClusterIsHealedByOneReconnectAndCounted) {
  heal_after = 1;
  auto healer = make({8080});
  healer->on_healthy();
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(reconnected.size(), 1U);
  EXPECT_EQ(heals(), 1);
  EXPECT_EQ(healer->tries(), 0U);
  EXPECT_THAT(health.items["inbound"].detail, HasSubstr("sends a cluster"));
}

TEST_F(HealerTest, GivesUpAfterFiveTriesFurtherAndFurtherApartAndSaysSo) {
  auto healer = make({8080});
  healer->on_healthy();
  loop.advance(std::chrono::hours(1));
  ASSERT_EQ(reconnected.size(), 5U);
  for (std::size_t i = 2; i < reconnected.size(); ++i)
    EXPECT_GT(reconnected[i] - reconnected[i - 1], reconnected[i - 1] - reconnected[i - 2]);
  EXPECT_THAT(health.items["inbound"].detail, HasSubstr("no service of the mesh selects this workload for port 8080"));
  EXPECT_EQ(health.items["inbound"].state, HealthState::kOk);
  EXPECT_EQ(loop.pending_timers(), 0U);
}

TEST_F(HealerTest, AnotherHealthyReportGivesAllTriesBack) {
  auto healer = make({8080});
  healer->on_healthy();
  loop.advance(std::chrono::hours(1));
  heal_after = 6;
  healer->on_healthy();
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(reconnected.size(), 6U);
}

TEST_F(HealerTest, NamesThePortsThatAreMissing) {
  names.emplace_back("inbound|8080||");
  auto healer = make({8080, 808, 9090});
  healer->on_healthy();
  loop.advance(std::chrono::hours(1));
  EXPECT_THAT(health.items["inbound"].detail, HasSubstr("for port 808, 9090;"));
}

TEST_F(HealerTest, WithoutKnownPortsAnyInboundClusterWillDo) {
  heal_after = 1;
  auto healer = make({});
  healer->on_healthy();
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(reconnected.size(), 1U);
}

TEST_F(HealerTest, StopsWhenToldTo) {
  auto healer = make({8080});
  healer->on_healthy();
  healer->stop();
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(looked, 1);
}

TEST_F(HealerTest, AnAnswerAfterItsEndIsPassedOver) {
  std::function<void(std::vector<std::string>)> answer;
  auto healer = std::make_unique<InboundHealer>(
      loop, metrics, [&](std::function<void(std::vector<std::string>)> use) { answer = std::move(use); },
      [this](const std::string&) { reconnected.push_back(loop.now()); }, std::vector<std::uint16_t>{8080});
  healer->on_healthy();
  loop.advance(std::chrono::seconds(10));
  ASSERT_TRUE(answer);
  healer.reset();
  answer({});
  EXPECT_TRUE(reconnected.empty());
}

}  // namespace
}  // namespace hawser::registration
