// SPDX-License-Identifier: Apache-2.0
#include "rotation_fixture.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using test::kSpiffe;
using test::lasting;
using test::passing;
using test::refused;
using ::testing::HasSubstr;
using ::testing::Not;

class RotationLife : public test::RotationFixture {};

TEST_F(RotationLife, AClockSetForwardRenewsOnceAndDoesNotStorm) {
  start();
  loop.set_wall(loop.wall() + 20h);
  loop.advance(31s);
  EXPECT_EQ(fake_ca.calls, 2);
  loop.advance(1h);
  EXPECT_EQ(fake_ca.calls, 2);
}

TEST_F(RotationLife, AClockSetBackDoesNotPutRenewingOff) {
  start();
  loop.set_wall(loop.wall() - std::chrono::hours(24 * 365));
  loop.advance(12h + 30min);
  EXPECT_EQ(fake_ca.calls, 2);
}

TEST_F(RotationLife, CertificatesOfNoLengthAreNotAskedForWithoutPause) {
  fake_ca.ttl = 1s;
  start();
  loop.advance(60s);
  EXPECT_LE(fake_ca.calls, 13);
  EXPECT_GE(fake_ca.calls, 8);
}

TEST_F(RotationLife, AClockSetMonthsForwardIsSaidDoesNotStormAndIsForgotten) {
  start();
  fake_ca.errors = {Error(Code::kFailedPrecondition, "HWS-CA-014", "the CA's certificate ended", "set the clock")};
  fake_ca.for_ever = true;
  const auto before = loop.wall();
  loop.set_wall(before + 90 * 24h);
  loop.advance(10min);
  EXPECT_EQ(health.clock, HealthState::kDegraded);
  EXPECT_THAT(health.clock_detail, HasSubstr("forward by 90 d"));
  EXPECT_EQ(health.state, HealthState::kFailed);
  EXPECT_LT(fake_ca.calls, 30);
  const auto first = rotation->current();
  ASSERT_NE(first, nullptr);  // it may be the clock that is wrong
  const int calls = fake_ca.calls;
  loop.set_wall(before + 10min);
  loop.advance(11s);
  EXPECT_EQ(health.clock, HealthState::kOk);
  EXPECT_EQ(health.state, HealthState::kOk);
  loop.advance(1h);
  EXPECT_LE(fake_ca.calls, calls + 1);
  EXPECT_EQ(rotation->current(), first);
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_clock_jumps_total{direction=\"forward\"} 1"));
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_clock_jumps_total{direction=\"back\"} 1"));
}

TEST_F(RotationLife, AnHourEitherWayChangesNothingButIsNoted) {
  start();
  loop.set_wall(loop.wall() + 1h);
  loop.advance(11s);
  EXPECT_EQ(health.clock, HealthState::kOk);
  EXPECT_THAT(health.clock_detail, HasSubstr("forward by 1 h"));
  loop.set_wall(loop.wall() - 1h);
  loop.advance(11s);
  EXPECT_THAT(health.clock_detail, HasSubstr("back by 1 h"));
  loop.advance(30min);
  EXPECT_EQ(fake_ca.calls, 1);
  EXPECT_EQ(health.state, HealthState::kOk);
}

TEST_F(RotationLife, WaitsAtBootForAClockThatNobodySetYet) {
  start();
  rotation->stop();
  loop.advance(1h);
  const auto right = loop.wall();
  loop.set_wall(wall_of(86'400));  // a machine without a battery
  bool unsettled = true;
  options.clock_unsettled = [&] { return unsettled; };
  make();
  start();
  loop.advance(5s);
  EXPECT_EQ(ready, 1);
  EXPECT_EQ(health.clock, HealthState::kStarting);
  EXPECT_THAT(health.clock_detail, HasSubstr("it says 1970-01-02T00:00:05Z"));
  loop.set_wall(right);
  unsettled = false;
  loop.advance(2s);
  EXPECT_EQ(ready, 2);
  EXPECT_EQ(fake_ca.calls, 1);
}

TEST_F(RotationLife, ARestartInTheSameBootDoesNotWaitForTheClock) {
  here.boot = "this one";
  make();
  start();
  rotation->stop();
  loop.set_wall(wall_of(86'400));
  options.clock_unsettled = [] { return true; };
  make();
  start();
  EXPECT_EQ(ready, 2);
}

TEST_F(RotationLife, DoesNotWaitForEverForAClock) {
  start();
  rotation->stop();
  loop.set_wall(wall_of(86'400));
  options.clock_unsettled = [] { return true; };
  make();
  start();
  loop.advance(31s);
  EXPECT_EQ(ready, 2);
}

TEST_F(RotationLife, TellsEachThresholdOnceAsTheEndNears) {
  start();
  fake_ca.errors = {passing()};
  fake_ca.for_ever = true;
  loop.advance(17h);
  EXPECT_THAT(metrics.text(), Not(HasSubstr("hawser_cert_warnings_total{")));
  loop.advance(2h);
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_cert_warnings_total{left=\"25%\"} 1"));
  EXPECT_THAT(health.detail, HasSubstr("less than 25% of its life is left"));
  EXPECT_EQ(health.state, HealthState::kDegraded);
  loop.advance(4h);
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_cert_warnings_total{left=\"25%\"} 1"));
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_cert_warnings_total{left=\"10%\"} 1"));
}

TEST_F(RotationLife, TriesEachProofWhenOneIsRefused) {
  start();
  fake_ca.errors = {refused(), refused()};
  rotation->renew_now([](const Status&) {});
  loop.run_ready();
  EXPECT_EQ(fake_ca.shown, (std::vector<std::string>{"t", "ct", "t", "c"}));
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_EQ(health.state, HealthState::kOk);
}

TEST_F(RotationLife, FetchesANewTokenWhereTheSourceCanBeforeItGivesUp) {
  tokens->attests_again = true;
  fake_ca.errors = {refused()};
  start();
  EXPECT_EQ(tokens->forgotten, 1);
  EXPECT_EQ(fake_ca.last_token, "jwt+");
  EXPECT_EQ(ready, 1);
}

TEST_F(RotationLife, AHostThatWasOffPastEverythingSaysExactlyWhatToDo) {
  options.how_to_prove = "kubectl create token reviews -n vms";
  start();
  rotation->stop();
  tokens->expires = loop.wall() + 1h;
  loop.advance(48h);
  fake_ca.errors = {refused()};
  fake_ca.for_ever = true;
  make();
  start();
  EXPECT_EQ(health.state, HealthState::kFailed);
  EXPECT_EQ(health.id, "HWS-ID-022");
  EXPECT_THAT(health.detail, HasSubstr("nothing is left that proves who this host is: the certificate ended at "));
  EXPECT_THAT(health.detail, HasSubstr("the token expired at "));
  EXPECT_EQ(health.hint, "kubectl create token reviews -n vms");
}

TEST_F(RotationLife, AFirstCertificateIsRenewedAnywhereInTheSpread) {
  options.policy.spread = 0.8;
  std::vector<double> shares;
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::filesystem::remove_all(state.at("current"));
    options.seed = seed;
    make();
    start();
    const std::chrono::duration<double> until = *rotation->next_renewal() - loop.wall();
    shares.push_back(until / std::chrono::duration<double>(24h));
    rotation->stop();
  }
  EXPECT_LT(*std::min_element(shares.begin(), shares.end()), 0.2);
  EXPECT_GT(*std::max_element(shares.begin(), shares.end()), 0.4);
  EXPECT_GE(*std::min_element(shares.begin(), shares.end()), 0.1);
  EXPECT_LE(*std::max_element(shares.begin(), shares.end()), 0.5);
}

TEST_F(RotationLife, ARestartKeepsThePlan) {
  options.policy.spread = 0.8;
  make();
  start();
  const auto planned = *rotation->next_renewal();
  rotation->stop();
  loop.advance(1min);
  options.seed = 99;
  make();
  start();
  EXPECT_LT(std::chrono::abs(*rotation->next_renewal() - planned), 1s);
}

TEST_F(RotationLife, HostsThatWaitedForTheSameCaDoNotStayTogether) {
  start();
  options.policy.spread = 0.8;
  make();
  start();
  fake_ca.errors = {passing()};
  fake_ca.for_ever = true;
  loop.advance(14h);
  fake_ca.for_ever = false;
  fake_ca.errors.clear();
  loop.advance(10min);
  ASSERT_EQ(seen.size(), 3U);
  const std::chrono::duration<double> until = *rotation->next_renewal() - loop.wall();
  EXPECT_LT(until / std::chrono::duration<double>(24h), 0.48);  // not at half its life, give or take the jitter
}

}  // namespace
}  // namespace hawser::certs
