// SPDX-License-Identifier: Apache-2.0
#include "certs/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "certs/ca_client.h"
#include "certs/csr.h"
#include "certs/utc.h"
#include "certs/x509.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using test::around;
using test::kSpiffe;
using test::TestCa;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const Loop::Wall kNow = wall_of(1'700'000'000);

struct Asked {
  Secret key;
  std::string csr;
};

Asked ask(const std::string& spiffe = kSpiffe) {
  auto key = make_key(KeyKind::kEcP256);
  auto csr = make_csr(*key, spiffe);
  return {std::move(*key), *csr};
}

TEST(Csr, HasTheSpiffeIdAsItsOnlyCriticalName) {
  const auto asked = ask();
  EXPECT_THAT(asked.csr, StartsWith("-----BEGIN CERTIFICATE REQUEST-----\n"));
  EXPECT_TRUE(test::csr_signature_holds(asked.csr));
  const auto text = test::csr_text(asked.csr);
  EXPECT_THAT(text, ContainsRegex("Subject Alternative Name: critical\n +URI:spiffe://cluster.local/ns/vms/sa/web\n"));
  EXPECT_THAT(text, HasSubstr("Subject: O=\n"));
  EXPECT_THAT(text, HasSubstr("prime256v1"));
}

TEST(Csr, CantBeMadeToAskForASecondName) {
  const auto asked = ask("spiffe://a/b,DNS:evil.example");
  EXPECT_EQ(test::csr_names(asked.csr), 1);
}

TEST(Csr, RefusesAnIdThatIsNoSpiffeId) {
  auto key = make_key(KeyKind::kEcP256);
  EXPECT_EQ(make_csr(*key, "https://x").error().id(), "HWS-ID-012");
}

TEST(Key, IsFreshEachTimeAndPkcs8) {
  auto one = make_key(KeyKind::kEcP256);
  auto two = make_key(KeyKind::kEcP256);
  EXPECT_THAT(one->reveal(), StartsWith("-----BEGIN PRIVATE KEY-----\n"));
  EXPECT_NE(one->reveal(), two->reveal());
}

TEST(Identity, HasTheFactsOfItsLeaf) {
  TestCa ca("mesh");
  const auto identity = ca.identity(kSpiffe, around(kNow));
  EXPECT_EQ(identity->spiffe_id, kSpiffe);
  EXPECT_EQ(identity->issuer, "CN=mesh intermediate");
  EXPECT_EQ(identity->not_before, kNow - std::chrono::minutes(2));
  EXPECT_EQ(identity->not_after, kNow + std::chrono::hours(24));
  EXPECT_EQ(identity->serial.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_FALSE(identity->expired_at(kNow));
  EXPECT_TRUE(identity->expired_at(identity->not_after));
}

// istiod with an intermediate answers leaf, intermediate, root, and the root bundle again.
TEST(Identity, DropsDuplicatesAndRootsFromTheChain) {
  TestCa ca("mesh");
  TestCa other("older");
  auto asked = ask();
  const auto chain =
      ca.sign_csr(asked.csr, kSpiffe, around(kNow)) + ca.intermediate_pem() + ca.intermediate_pem() + ca.root_pem();
  const auto identity = make_identity(std::move(asked.key), chain, ca.root_pem() + other.root_pem() + ca.root_pem());
  ASSERT_TRUE(identity) << identity.error().to_string();
  EXPECT_EQ(split_bundle((*identity)->chain_pem)->size(), 2U);
  EXPECT_EQ(split_bundle((*identity)->roots_pem)->size(), 2U);
  EXPECT_THAT((*identity)->chain_pem, Not(HasSubstr(ca.root_pem())));
}

TEST(Identity, RefusesTheKeyOfAnother) {
  TestCa ca("mesh");
  const auto leaf = ca.sign_csr(ask().csr, kSpiffe, around(kNow));
  EXPECT_EQ(make_identity(ask().key, leaf + ca.intermediate_pem(), ca.root_pem()).error().id(), "HWS-ID-007");
}

TEST(Identity, RefusesAChainThatDoesNotLeadToItsRoots) {
  TestCa ca("mesh"), foreign("foreign");
  auto asked = ask();
  const auto leaf = ca.sign_csr(asked.csr, kSpiffe, around(kNow));
  EXPECT_EQ(make_identity(std::move(asked.key), leaf + ca.intermediate_pem(), foreign.root_pem()).error().id(),
            "HWS-ID-008");
}

TEST(Identity, TakesAnIntermediateAsAnchor) {
  TestCa ca("mesh");
  auto asked = ask();
  const auto leaf = ca.sign_csr(asked.csr, kSpiffe, around(kNow));
  EXPECT_TRUE(make_identity(std::move(asked.key), leaf, ca.intermediate_pem()));
}

TEST(Bundle, RefusesWhatIsNoCertificate) {
  TestCa ca("mesh");
  EXPECT_EQ(split_bundle("").error().id(), "HWS-ID-006");
  EXPECT_EQ(split_bundle("hello").error().id(), "HWS-ID-006");
  const std::string garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  EXPECT_EQ(split_bundle(garbage).error().id(), "HWS-ID-006");
  EXPECT_EQ(split_bundle(ca.root_pem() + garbage).error().id(), "HWS-ID-006");
  EXPECT_EQ(split_bundle(ca.root_pem().substr(0, 200)).error().id(), "HWS-ID-006");
  EXPECT_EQ(split_bundle(std::string((1 << 20) + 1, 'x')).error().id(), "HWS-ID-006");
}

TEST(Bundle, IsDescribedAsOtherProgramsDo) {
  test::TestCa ca("mesh");
  const auto identity = ca.identity(test::kSpiffe, around(kNow));
  const auto chain = describe_bundle(identity->chain_pem);
  ASSERT_TRUE(chain) << chain.error().to_string();
  ASSERT_EQ(chain->size(), 2U);
  EXPECT_EQ(chain->front().serial, identity->serial);
  EXPECT_EQ(chain->front().issuer, chain->back().subject);
  EXPECT_EQ(chain->front().not_after, identity->not_after);
  EXPECT_EQ(chain->front().key, "EC prime256v1");
  const auto roots = describe_bundle(identity->roots_pem);
  ASSERT_TRUE(roots);
  EXPECT_EQ(roots->front().subject, roots->front().issuer);
  EXPECT_EQ(roots->front().sha256.size(), 64U);
  EXPECT_FALSE(describe_bundle("nothing"));
}

TEST(Bundle, KeepsOrderAndIgnoresComments) {
  TestCa one("one"), two("two");
  const auto split = split_bundle("# first\n" + two.root_pem() + "\n# second\n" + one.root_pem());
  ASSERT_TRUE(split);
  EXPECT_EQ(*split, (std::vector<std::string>{two.root_pem(), one.root_pem()}));
}

TEST(Leaf, MustHaveASpiffeId) {
  TestCa ca("mesh");
  auto key = make_key(KeyKind::kEcP256);
  EXPECT_EQ(parse_leaf(ca.server_certificate(std::string(key->reveal()), "host", around(kNow))).error().id(),
            "HWS-ID-006");
}

TEST(Answer, IsTakenWhenItIsForOurKeyAndOurId) {
  TestCa ca("mesh");
  auto asked = ask();
  const CaClient::Answer answer{ca.sign_csr(asked.csr, kSpiffe, around(kNow)) + ca.intermediate_pem(), ca.root_pem()};
  const auto identity = accept_answer(std::move(asked.key), answer, {kSpiffe, {}}, kNow);
  ASSERT_TRUE(identity) << identity.error().to_string();
}

TEST(Answer, ForAnotherIdIsNamed) {
  TestCa ca("mesh");
  auto asked = ask();
  const CaClient::Answer answer{
      ca.sign_csr(asked.csr, "spiffe://cluster.local/ns/vms/sa/db", around(kNow)) + ca.intermediate_pem(),
      ca.root_pem()};
  const auto refused = accept_answer(std::move(asked.key), answer, {kSpiffe, {}}, kNow);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().id(), "HWS-CA-008");
  EXPECT_THAT(refused.error().message(), HasSubstr("sa/db"));
  EXPECT_FALSE(refused.error().retryable());
}

TEST(Answer, ForAnotherKeyExpiredOrGarbageIsRefused) {
  TestCa ca("mesh");
  auto asked = ask();
  const CaClient::Answer answer{ca.sign_csr(asked.csr, kSpiffe, around(kNow)) + ca.intermediate_pem(), ca.root_pem()};
  EXPECT_EQ(accept_answer(ask().key, answer, {kSpiffe, {}}, kNow).error().id(), "HWS-CA-009");
  EXPECT_EQ(accept_answer(std::move(asked.key), answer, {kSpiffe, {}}, kNow + std::chrono::hours(25)).error().id(),
            "HWS-CA-010");
  EXPECT_EQ(accept_answer(ask().key, {"x", "y"}, {kSpiffe, {}}, kNow).error().id(), "HWS-CA-007");
}

TEST(Answer, ThatBeginsInTheFutureIsTaken) {
  TestCa ca("mesh");
  auto asked = ask();
  const CaClient::Answer answer{ca.sign_csr(asked.csr, kSpiffe, around(kNow)) + ca.intermediate_pem(), ca.root_pem()};
  EXPECT_TRUE(accept_answer(std::move(asked.key), answer, {kSpiffe, {}}, kNow - std::chrono::hours(1)));
}

TEST(Utc, SurvivesDatesThatNanosecondsCantHold) {
  EXPECT_EQ(utc_text(wall_of(1'700'000'000)), "2023-11-14T22:13:20Z");
  EXPECT_LT(kNow, wall_of(253'402'300'799));  // 9999-12-31
}

TEST(Secret, IsEmptyAfterItWasMoved) {
  Secret one(std::string(100, 'k'));
  const Secret two(std::move(one));
  EXPECT_TRUE(one.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(two.reveal().size(), 100U);
}

}  // namespace
}  // namespace hawser::certs
