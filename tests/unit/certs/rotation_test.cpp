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

class RotationTest : public test::RotationFixture {};

TEST_F(RotationTest, AsksTheCaWhenNothingIsStored) {
  start();
  EXPECT_EQ(ready, 1);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(rotation->current(), seen[0]);
  EXPECT_EQ(fake_ca.last_token, "jwt");
  EXPECT_EQ(fake_ca.last_client, nullptr);
  EXPECT_EQ(fake_ca.last_ttl, 24h);
  EXPECT_EQ(health.state, HealthState::kOk);
  EXPECT_THAT(metrics.text(), HasSubstr("hawser_cert_expiry_timestamp_seconds"));
}

TEST_F(RotationTest, TakesAGoodStoredIdentityWithoutTheCa) {
  start();
  const auto serial = rotation->current()->serial;
  make();
  start();
  EXPECT_EQ(fake_ca.calls, 1);
  EXPECT_EQ(ready, 2);
  EXPECT_EQ(rotation->current()->serial, serial);
}

TEST_F(RotationTest, DoesNotUseAnExpiredStoredIdentity) {
  start();
  const auto serial = rotation->current()->serial;
  rotation->stop();
  loop.advance(25h);
  make();
  start();
  EXPECT_EQ(fake_ca.calls, 2);
  EXPECT_EQ(fake_ca.last_client, nullptr);
  EXPECT_NE(rotation->current()->serial, serial);
}

TEST_F(RotationTest, DoesNotUseAStoredIdentityOfAnotherName) {
  ASSERT_TRUE(store->store(*ca.identity("spiffe://cluster.local/ns/vms/sa/old", test::around(loop.wall()))));
  start();
  EXPECT_EQ(fake_ca.calls, 1);
  EXPECT_EQ(fake_ca.last_client, nullptr);
  EXPECT_EQ(rotation->current()->spiffe_id, kSpiffe);
}

TEST_F(RotationTest, RenewsAtHalfLifeWithinTheJitterWithANewKey) {
  start();
  loop.advance(11h + 44min);
  EXPECT_EQ(seen.size(), 1U);
  loop.advance(32min);
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_FALSE(seen[0]->key_pem == seen[1]->key_pem);
  EXPECT_EQ(fake_ca.last_client, seen[0]);
  EXPECT_EQ(ready, 1);
  loop.advance(std::chrono::hours(24 * 30));
  EXPECT_NEAR(static_cast<double>(fake_ca.calls), 62, 2);
}

TEST_F(RotationTest, KeepsTheOldOneWhileRenewingFailsAndRetries) {
  start();
  fake_ca.errors = {passing()};
  fake_ca.for_ever = true;
  loop.advance(13h);
  EXPECT_EQ(rotation->current(), seen[0]);
  EXPECT_EQ(health.state, HealthState::kDegraded);
  EXPECT_EQ(health.id, "HWS-CA-003");
  EXPECT_THAT(health.detail, HasSubstr("valid until"));
  const int tries = fake_ca.calls;
  EXPECT_GT(tries, 10);
  EXPECT_LT(tries, 60);  // with half a day left nothing presses
  fake_ca.errors.clear();
  loop.advance(10min);
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_EQ(health.state, HealthState::kOk);
}

TEST_F(RotationTest, SaysFailedOnceTheOldOneHasEndedAndRecoversWithTheToken) {
  start();
  fake_ca.errors = {passing()};
  fake_ca.for_ever = true;
  loop.advance(25h);
  EXPECT_EQ(health.state, HealthState::kFailed);
  EXPECT_EQ(fake_ca.last_client, nullptr);
  fake_ca.errors.clear();
  loop.advance(31s);
  EXPECT_EQ(seen.size(), 2U);
}

TEST_F(RotationTest, RetriesQuicklyAtFirstAndSlowlyWhenOnlyTheOperatorCanHelp) {
  fake_ca.errors = {passing()};
  fake_ca.for_ever = true;
  start();
  loop.advance(1s);
  EXPECT_GE(fake_ca.calls, 3);
  const int before = fake_ca.calls;
  fake_ca.errors = {lasting()};
  loop.advance(40s);
  EXPECT_EQ(health.state, HealthState::kFailed);
  EXPECT_EQ(health.id, "HWS-CA-001");
  EXPECT_EQ(health.hint, "take the right one");
  loop.advance(10min);
  EXPECT_LT(fake_ca.calls - before, 30);
  EXPECT_GT(fake_ca.calls - before, 15);
}

TEST_F(RotationTest, RefusesACertificateForAnotherId) {
  fake_ca.spiffe = "spiffe://cluster.local/ns/vms/sa/db";
  start();
  EXPECT_EQ(ready, 0);
  EXPECT_EQ(health.id, "HWS-CA-008");
  EXPECT_EQ(store->load().identity, nullptr);
  fake_ca.spiffe = kSpiffe;
  loop.advance(30s);
  EXPECT_EQ(ready, 1);
}

TEST_F(RotationTest, NamesAnExpiredTokenWhenTheCaRefuses) {
  tokens->expires = wall_of(1'699'999'999);
  fake_ca.errors = {refused()};
  start();
  EXPECT_EQ(health.id, "HWS-ID-022");
  EXPECT_THAT(health.detail, HasSubstr("the token expired at 2023-11-14T22:13:19Z"));
  EXPECT_THAT(health.hint, HasSubstr("run hawser join again"));
}

TEST_F(RotationTest, DoesNotBlameATokenThatIsGood) {
  tokens->expires = loop.wall() + 1h;
  fake_ca.errors = {refused()};
  start();
  EXPECT_EQ(health.id, "HWS-CA-004");
}

TEST_F(RotationTest, RenewsOnTheCertificateAloneWhenTheTokenIsGone) {
  start();
  tokens->text.clear();
  loop.advance(13h);
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_EQ(fake_ca.last_token, "");
}

TEST_F(RotationTest, AsksNobodyWithNeitherTokenNorCertificate) {
  tokens->text.clear();
  start();
  EXPECT_EQ(fake_ca.calls, 0);
  EXPECT_EQ(health.id, "HWS-ID-020");
  tokens->text = "jwt";
  loop.advance(30s);
  EXPECT_EQ(ready, 1);
}

TEST_F(RotationTest, AnnouncesNothingThatIsNotOnDisk) {
  // rename(2) of a link over a folder that isn't empty fails, even for root.
  std::filesystem::create_directories(state.at("current.new/held"));
  std::filesystem::create_directories(state.at("current/held"));
  start();
  EXPECT_EQ(ready, 0);
  EXPECT_TRUE(seen.empty());
  EXPECT_EQ(health.id, "HWS-ID-005");
  std::filesystem::remove_all(state.at("current.new"));
  std::filesystem::remove_all(state.at("current"));
  loop.advance(30s);
  EXPECT_EQ(ready, 1);
  EXPECT_EQ(fake_ca.calls, 1);  // the certificate was kept meanwhile
}

TEST_F(RotationTest, ADiskThatRefusesToTheEndDoesNotTakeTheHostOutOfTheMesh) {
  fake_ca.ttl = 5min;
  tell_only_from_disk = false;
  start();
  const auto first = rotation->current();
  std::filesystem::create_directories(state.at("current.new/held"));
  loop.advance(3min);
  EXPECT_EQ(rotation->current(), first);  // nothing presses yet
  EXPECT_EQ(health.id, "HWS-ID-005");
  loop.advance(2min);
  const auto second = rotation->current();
  EXPECT_NE(second, first);
  EXPECT_FALSE(second->expired_at(loop.wall()));
  EXPECT_EQ(health.state, HealthState::kDegraded);
  EXPECT_EQ(health.id, "HWS-ID-005");
  EXPECT_EQ(fake_ca.calls, 2);  // the one that waits to be saved isn't asked for again

  loop.advance(6min);  // and so for the next
  EXPECT_FALSE(rotation->current()->expired_at(loop.wall()));
  std::filesystem::remove_all(state.at("current.new"));
  loop.advance(31s);
  EXPECT_EQ(health.state, HealthState::kOk);
  EXPECT_EQ(store->load().identity->serial, rotation->current()->serial);
  EXPECT_EQ(seen.back(), rotation->current());
}

TEST_F(RotationTest, RenewNowAnswersWithTheOutcome) {
  start();
  std::optional<Status> outcome;
  rotation->renew_now([&](const Status& status) { outcome = status; });
  loop.run_ready();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
  EXPECT_EQ(seen.size(), 2U);
  fake_ca.errors = {lasting()};
  rotation->renew_now([&](const Status& status) { outcome = status; });
  loop.run_ready();
  EXPECT_EQ(outcome->error().id(), "HWS-CA-001");
  EXPECT_EQ(rotation->current(), seen[1]);
}

TEST_F(RotationTest, RenewNowDuringARequestTakesItsOutcome) {
  fake_ca.mute = true;
  start();
  std::optional<Status> outcome;
  rotation->renew_now([&](const Status& status) { outcome = status; });
  loop.run_ready();
  EXPECT_EQ(fake_ca.calls, 1);
  fake_ca.answer();
  loop.run_ready();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
}

TEST_F(RotationTest, StopCancelsAndAnswersWhoWaits) {
  fake_ca.mute = true;
  start();
  std::optional<Status> outcome;
  rotation->renew_now([&](const Status& status) { outcome = status; });
  rotation->stop();
  EXPECT_EQ(fake_ca.cancels, 1);
  EXPECT_EQ(outcome->error().id(), "HWS-ID-011");
  loop.advance(48h);
  EXPECT_EQ(fake_ca.calls, 1);
  EXPECT_EQ(loop.pending_timers(), 0U);
}

TEST_F(RotationTest, MayBeStoppedFromItsOwnCallback) {
  rotation->on_change([this](const IdentityPtr&) { rotation->stop(); });
  start();
  EXPECT_EQ(ready, 0);
  EXPECT_EQ(loop.pending_timers(), 0U);
  rotation.reset();
  loop.advance(48h);
}

}  // namespace
}  // namespace hawser::certs
