// SPDX-License-Identifier: Apache-2.0
// Fleets of up to 10,000 hosts that lose their control plane at one moment, on a fake clock (tests/fleet/simulation.h).
#include <gtest/gtest.h>

#include "fleet/simulation.h"

namespace hawser::fleet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kGrace = 10;         // seconds after which istiod removes a host that it misses
constexpr double kSixteenCores = 95;  // streams that one istiod takes a second
constexpr double kTwoCores = 25;

Scenario fleet(std::size_t hosts, double accepts, milliseconds outage, milliseconds spread) {
  Scenario out;
  out.hosts = hosts;
  out.accepts_a_second = accepts;
  out.outage = outage;
  out.spread = spread;
  return out;
}

TEST(FleetSimulation, ByDefaultSixHundredHostsChangeTheInstanceWithinTheGraceTime) {
  const auto figures = simulate(fleet(600, kSixteenCores, seconds(0), seconds(8)));
  EXPECT_EQ(figures.missing, 0u);
  EXPECT_EQ(figures.refused, 0u);
  EXPECT_EQ(figures.tries, 600u);
  EXPECT_EQ(figures.gone_longer_than(kGrace), 0u);
  EXPECT_GT(figures.quantile(0.99), 7.5) << "they aren't spread at all";
}

TEST(FleetSimulation, AThousandHostsOnASmallPlaneAreNeverRefusedWithASpreadOfFleetByRate) {
  for (const auto outage : {seconds(0), seconds(10), seconds(300)}) {
    const auto figures = simulate(fleet(1'000, kTwoCores, outage, seconds(60)));
    EXPECT_EQ(figures.missing, 0u);
    EXPECT_EQ(figures.refused, 0u) << "after an outage of " << outage.count() << " s";
    EXPECT_LE(figures.quantile(1), static_cast<double>(outage.count()) + 120.1);
  }
}

TEST(FleetSimulation, TenThousandHostsAreNeverRefusedWithASpreadOfFleetByRate) {
  const auto figures = simulate(fleet(10'000, kSixteenCores, seconds(0), seconds(120)));
  EXPECT_EQ(figures.missing, 0u);
  EXPECT_EQ(figures.refused, 0u);
  EXPECT_LE(figures.peak, 130u);
  EXPECT_LE(figures.quantile(1), 121);
}

// 105 s is what the plane needs at least for 10,000 at 95 a second.
TEST(FleetSimulation, TenThousandHostsWithTheDefaultAreAllBackInLessThanTwiceWhatThePlaneNeeds) {
  for (const auto outage : {seconds(0), seconds(10), seconds(300)}) {
    const auto figures = simulate(fleet(10'000, kSixteenCores, outage, seconds(8)));
    EXPECT_EQ(figures.missing, 0u);
    EXPECT_LE(figures.quantile(1), static_cast<double>(outage.count()) + 210);
    EXPECT_LE(figures.refused, 40'000u);
    EXPECT_LE(figures.peak, 2'600u);
  }
}

// What the spread is for: the back-off alone sends them all at once.
TEST(FleetSimulation, WithoutASpreadTheFleetStampedes) {
  const auto figures = simulate(fleet(10'000, kSixteenCores, seconds(0), seconds(0)));
  EXPECT_GE(figures.peak, 10'000u);
  EXPECT_GT(figures.refused, 10'000u);
}

TEST(FleetSimulation, TheSameSeedGivesTheSameFigures) {
  const auto scenario = fleet(500, kTwoCores, seconds(10), seconds(8));
  const auto first = simulate(scenario), second = simulate(scenario);
  EXPECT_EQ(first.gone, second.gone);
  EXPECT_EQ(first.refused, second.refused);
}

}  // namespace
}  // namespace hawser::fleet
