// SPDX-License-Identifier: Apache-2.0
#include "registration/reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <vector>

#include "base/fake_loop.h"
#include "recorded_health.h"

namespace hawser::registration {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

struct ReporterTest : testing::Test {
  FakeLoop loop;
  Metrics metrics;
  RecordedHealth health;
  std::vector<std::pair<bool, std::string>> sent;
  Reporter reporter{loop, metrics, health,
                    [this](bool healthy, const std::string& message) { sent.emplace_back(healthy, message); }};
};

TEST_F(ReporterTest, IsSilentUntilInterceptionIsVerified) {
  reporter.set_program(true, "");
  loop.advance(std::chrono::hours(1));
  EXPECT_THAT(sent, IsEmpty());
  reporter.set_interception(true);
  EXPECT_THAT(sent, ElementsAre(Pair(true, "")));
}

// After a restart of hawserd the plane still holds the host for well: an "unhealthy" for want of a verdict would take
// it out of the mesh for as long as the probes' initial delay.
TEST_F(ReporterTest, SaysNothingBeforeTheProgramsStateIsKnown) {
  reporter.set_interception(true);
  loop.advance(std::chrono::hours(1));
  EXPECT_THAT(sent, IsEmpty());
  EXPECT_THAT(health.items["registration"].detail, testing::HasSubstr("first verdict"));
  reporter.set_program(true, "");
  EXPECT_THAT(sent, ElementsAre(Pair(true, "")));
}

TEST_F(ReporterTest, CountsAndRemembersWhatItTold) {
  reporter.set_interception(true);
  reporter.set_program(false, "503");
  loop.advance(std::chrono::seconds(60));
  EXPECT_EQ(reporter.reports(), 2U);
  EXPECT_EQ(reporter.told_reason(), "503");
  EXPECT_NE(metrics.text().find("hawser_health_reports_total{health=\"unhealthy\"} 2"), std::string::npos);
}

TEST_F(ReporterTest, ADrainIsToldAtOnceAlsoByOneThatHasToldNothing) {
  reporter.set_drain("drained");
  EXPECT_THAT(sent, ElementsAre(Pair(false, "drained")));
  EXPECT_EQ(health.items["registration"].id, "") << "it's as wanted";
  reporter.set_program(true, "");
  reporter.set_interception(true);
  loop.advance(std::chrono::seconds(60));
  EXPECT_THAT(sent, ElementsAre(Pair(false, "drained"), Pair(false, "drained"))) << "repeated, and never healthy";
  reporter.set_drain("");
  EXPECT_EQ(sent.back(), std::pair(true, std::string()));
}

TEST_F(ReporterTest, ADrainOfAnUnhealthyHostIsToldWithItsReasonAndTakenBackToTheTruth) {
  reporter.set_interception(true);
  reporter.set_program(false, "503");
  reporter.set_drain("drained");
  EXPECT_EQ(sent.back(), std::pair(false, std::string("drained")));
  const auto before = sent.size();
  reporter.set_drain("");
  EXPECT_EQ(sent.size(), before) << "unhealthy as it was";
  reporter.set_program(true, "");
  EXPECT_EQ(sent.back(), std::pair(true, std::string()));
}

TEST_F(ReporterTest, TellsOnChangeOnly) {
  reporter.set_program(true, "");
  reporter.set_interception(true);
  reporter.set_program(true, "");
  reporter.set_interception(true);
  EXPECT_EQ(sent.size(), 1U);
  reporter.set_program(false, "503");
  EXPECT_THAT(sent.back(), Pair(false, "503"));
  EXPECT_EQ(health.items["registration"].id, "HWS-RG-001");
}

TEST_F(ReporterTest, LosingInterceptionIsUnhealthy) {
  reporter.set_program(true, "");
  reporter.set_interception(true);
  reporter.set_interception(false);
  EXPECT_THAT(sent.back(), Pair(false, "traffic isn't intercepted"));
}

TEST_F(ReporterTest, RepeatsItselfEachMinuteWithTheReasonOfNow) {
  reporter.set_interception(true);
  reporter.set_program(false, "503");
  reporter.set_program(false, "connection refused");
  EXPECT_EQ(sent.size(), 1U);
  loop.advance(std::chrono::seconds(60));
  EXPECT_THAT(sent.back(), Pair(false, "connection refused"));
  loop.advance(std::chrono::seconds(180));
  EXPECT_EQ(sent.size(), 5U);
}

TEST_F(ReporterTest, WithdrawsFirstAndForGood) {
  reporter.set_program(true, "");
  reporter.set_interception(true);
  reporter.withdraw();
  EXPECT_THAT(sent.back(), Pair(false, "withdrawn"));
  EXPECT_EQ(reporter.told(), false);
  EXPECT_EQ(health.items["registration"].state, HealthState::kOk);
  const auto count = sent.size();
  reporter.set_program(false, "x");
  reporter.set_program(true, "");
  reporter.withdraw();
  loop.advance(std::chrono::hours(1));
  EXPECT_EQ(sent.size(), count);
}

TEST_F(ReporterTest, WithdrawingBeforeAnythingWasToldSaysNothing) {
  reporter.set_program(true, "");
  reporter.withdraw();
  reporter.set_interception(true);
  EXPECT_THAT(sent, IsEmpty());
  EXPECT_EQ(reporter.told(), std::nullopt);
}

TEST_F(ReporterTest, HealthyIsAnnouncedOncePerChangeAndNotPerRepetition) {
  int healthy = 0;
  reporter.on_told([&](bool well) { healthy += well ? 1 : 0; });
  reporter.set_program(true, "");
  reporter.set_interception(true);
  loop.advance(std::chrono::minutes(10));
  EXPECT_EQ(healthy, 1);
  reporter.set_program(false, "x");
  reporter.set_program(true, "");
  EXPECT_EQ(healthy, 2);
}

// Whatever comes in whatever order: healthy is only ever said while both hold and nothing is withdrawn.
TEST_F(ReporterTest, NeverSaysHealthyWithoutInterceptionInAnyOrderOfEvents) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::optional<bool> program;
    bool intercepted = false;
    bool withdrawn = false;
    Reporter one(loop, metrics, health, [&](bool healthy, const std::string&) {
      EXPECT_TRUE(!healthy || (program == true && intercepted && !withdrawn)) << "seed " << seed;
    });
    for (int step = 0; step < 60; ++step) {
      const unsigned what = random() % 8;
      const bool value = random() % 2 == 0;
      if (what < 3) {
        program = value;
        one.set_program(value, "reason");
      } else if (what < 6) {
        one.set_interception(intercepted = value);
      } else if (what == 6) {
        loop.advance(std::chrono::seconds(random() % 90));
      } else if (step > 50) {
        withdrawn = true;
        one.withdraw();
      }
      if (withdrawn || !one.told()) continue;
      EXPECT_EQ(one.told(), program == true && intercepted) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace hawser::registration
