// SPDX-License-Identifier: Apache-2.0
#include "certs/trust_bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "certs/trust_state.h"
#include "certs/x509.h"
#include "test_ca.h"

namespace hawser::certs::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string digest(const std::string& pem) {
  return describe_bundle(pem)->front().sha256;
}

class TrustBundleTest : public testing::Test {
 protected:
  std::string state_of(const std::string& pem) const {
    for (const auto& root : bundle.roots())
      if (root.sha256 == digest(pem))
        return bundle.excluded(root.sha256) ? "excluded" : root.retired_until ? "retired" : "trusted";
    return "unknown";
  }
  bool trusts(const std::string& pem) const { return bundle.pem().find(pem) != std::string::npos; }

  TestCa old_ca{"old"};
  TestCa new_ca{"new"};
  TestCa other{"other"};
  std::string old_root = split_bundle(old_ca.root_pem())->front();
  std::string new_root = split_bundle(new_ca.root_pem())->front();
  std::string other_root = split_bundle(other.root_pem())->front();
  Loop::Wall now = std::chrono::system_clock::now();
  TrustBundle bundle{{24h, {}}};
};

TEST_F(TrustBundleTest, MergesWhatSeveralSendWithoutDuplicatesInAFixedOrder) {
  ASSERT_TRUE(*bundle.set(kFromCa, old_root + new_root, now));
  EXPECT_FALSE(*bundle.set("/etc/roots.pem", new_root, now)) << "nothing new is trusted";
  EXPECT_TRUE(*bundle.set(kFromControlPlane, other_root + old_root + other_root, now));
  TrustBundle turned{{24h, {}}};
  (void)turned.set("/etc/roots.pem", new_root, now);
  (void)turned.set(kFromControlPlane, old_root + other_root, now);
  (void)turned.set(kFromCa, new_root + old_root, now);
  EXPECT_EQ(bundle.pem(), turned.pem());
  EXPECT_EQ(split_bundle(bundle.pem())->size(), 3u);
}

TEST_F(TrustBundleTest, ARootThatIsSentNoMoreStaysForTheOverlap) {
  (void)bundle.set(kFromCa, old_root, now);
  EXPECT_TRUE(*bundle.set(kFromCa, new_root, now));
  EXPECT_EQ(state_of(old_root), "retired");
  EXPECT_EQ(bundle.deadline(), now + 24h);
  EXPECT_FALSE(bundle.advance(now + 24h - 1s));
  EXPECT_TRUE(trusts(old_root));
  EXPECT_TRUE(bundle.advance(now + 24h));
  EXPECT_FALSE(trusts(old_root));
  EXPECT_TRUE(trusts(new_root));
}

TEST_F(TrustBundleTest, ARetiredRootThatIsSentAgainIsTrustedForGood) {
  (void)bundle.set(kFromCa, old_root, now);
  (void)bundle.set(kFromCa, new_root, now);
  EXPECT_FALSE(*bundle.set(kFromCa, new_root + old_root, now + 1h));
  EXPECT_EQ(state_of(old_root), "trusted");
  EXPECT_EQ(bundle.deadline(), std::nullopt);
}

TEST_F(TrustBundleTest, WhatAnotherSourceStillSendsIsntRetired) {
  (void)bundle.set(kFromCa, old_root, now);
  (void)bundle.set("/etc/roots.pem", old_root, now);
  (void)bundle.set(kFromCa, new_root, now);
  EXPECT_EQ(state_of(old_root), "trusted");
  (void)bundle.forget("/etc/roots.pem", now);
  EXPECT_EQ(state_of(old_root), "retired");
}

TEST_F(TrustBundleTest, ABrokenOrEmptySourceRemovesNothing) {
  (void)bundle.set("/etc/roots.pem", old_root, now);
  for (const std::string& bad : {std::string(), std::string("nonsense"), old_root.substr(0, 200),
                                 new_root + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}) {
    const auto set = bundle.set("/etc/roots.pem", bad, now);
    ASSERT_FALSE(set) << bad;
    EXPECT_EQ(set.error().id(), "HWS-TR-001");
    EXPECT_EQ(state_of(old_root), "trusted");
    EXPECT_FALSE(trusts(new_root));
  }
}

TEST_F(TrustBundleTest, ARootIsKeptNoLongerThanItLives) {
  (void)bundle.set(kFromCa, old_root, now);
  (void)bundle.set(kFromCa, new_root, now);
  auto state = bundle.state();
  for (auto& root : state.roots)
    if (root.retired_until) root.not_after = now + 1h;
  TrustBundle soon({24h, {}}, state);
  EXPECT_EQ(soon.deadline(), now + 1h);
  EXPECT_TRUE(soon.advance(now + 1h));
  EXPECT_EQ(soon.pem(), new_root);
}

TEST_F(TrustBundleTest, WhatIsDroppedIsNeverTrustedWhoeverSendsIt) {
  (void)bundle.set(kFromCa, old_root + new_root, now);
  EXPECT_TRUE(bundle.drop(digest(old_root)));
  EXPECT_FALSE(trusts(old_root));
  EXPECT_EQ(state_of(old_root), "excluded");
  (void)bundle.set(kFromControlPlane, old_root, now);
  (void)bundle.set("/f", old_root, now);
  EXPECT_FALSE(trusts(old_root));
  TrustBundle later({24h, {}}, bundle.state());
  EXPECT_EQ(later.pem(), new_root) << "after a restart, too";
  EXPECT_TRUE(bundle.allow(digest(old_root)));
  EXPECT_TRUE(trusts(old_root));
}

TEST_F(TrustBundleTest, ARetiredRootThatIsDroppedIsGone) {
  (void)bundle.set(kFromCa, old_root, now);
  (void)bundle.set(kFromCa, new_root, now);
  EXPECT_TRUE(bundle.drop(digest(old_root)));
  EXPECT_EQ(state_of(old_root), "unknown");
  EXPECT_TRUE(bundle.excluded(digest(old_root)));
}

TEST_F(TrustBundleTest, TheConfigurationExcludesToo) {
  TrustBundle strict{{24h, {digest(old_root)}}};
  EXPECT_TRUE(*strict.set(kFromCa, old_root + new_root, now));
  EXPECT_EQ(strict.pem(), new_root);
}

TEST_F(TrustBundleTest, NobodyButTheCaFillsTheMemory) {
  std::string many;
  for (std::size_t i = 0; i < TrustBundle::kMaxRoots; ++i) many += TestCa("n" + std::to_string(i)).root_pem();
  ASSERT_TRUE(bundle.set("/many.pem", many, now));
  const auto more = bundle.set(kFromControlPlane, other_root, now);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().id(), "HWS-TR-002");
  EXPECT_TRUE(bundle.set(kFromCa, other_root, now)) << "our own chain must lead to a root that is trusted";
  EXPECT_TRUE(trusts(other_root));
}

// The connection to a control plane.

TEST_F(TrustBundleTest, APinnedServerMayMoveToTheNewRootOfItsMesh) {
  EXPECT_EQ(bundle.server_roots(old_root), old_root) << "before the CA has answered";
  (void)bundle.set(kFromCa, old_root, now);
  (void)bundle.set(kFromCa, old_root + new_root, now);
  EXPECT_EQ(split_bundle(bundle.server_roots(old_root))->size(), 2u);
  (void)bundle.set(kFromCa, new_root, now);
  EXPECT_EQ(split_bundle(bundle.server_roots(old_root))->size(), 2u);
  TrustBundle restarted({24h, {}}, bundle.state());
  (void)restarted.advance(now + 48h);
  EXPECT_THAT(restarted.server_roots(old_root), HasSubstr(new_root)) << "long after the old root has gone";
}

TEST_F(TrustBundleTest, NobodyElseVouchesForAPinnedServer) {
  (void)bundle.set(kFromCa, old_root, now);
  (void)bundle.set(kFromControlPlane, new_root, now);
  (void)bundle.set("/f", other_root, now);
  EXPECT_EQ(bundle.server_roots(old_root), old_root);
  EXPECT_EQ(bundle.server_roots(other_root), other_root) << "a server outside of the mesh stays with its own root";
  EXPECT_EQ(bundle.server_roots("system"), "system");
}

TEST_F(TrustBundleTest, AnExcludedRootVouchesForNoServer) {
  (void)bundle.set(kFromCa, old_root + new_root, now);
  (void)bundle.drop(digest(old_root));
  EXPECT_EQ(bundle.server_roots(old_root), new_root);
  (void)bundle.drop(digest(new_root));
  EXPECT_THAT(bundle.server_roots(old_root), IsEmpty());
}

// On disk.

TEST_F(TrustBundleTest, AllSurvivesARestart) {
  (void)bundle.set(kFromCa, old_root + other_root, now);
  (void)bundle.set(kFromCa, new_root + other_root, now);
  (void)bundle.set("/f", new_root, now);
  (void)bundle.drop(digest(other_root));
  const TempFolder folder;
  ASSERT_TRUE(save_trust_state(folder.at("trust.json"), build_trust_state(bundle.state(), 1h)));
  const auto loaded = load_trust_state(folder.at("trust.json"));
  ASSERT_FALSE(loaded.note);
  const TrustBundle again({24h, {}}, loaded.state);
  EXPECT_EQ(again.pem(), bundle.pem());
  EXPECT_EQ(again.sources(), bundle.sources());
  EXPECT_TRUE(again.excluded(digest(other_root)));
  ASSERT_TRUE(again.deadline());
  EXPECT_NEAR(std::chrono::duration<double>(*again.deadline() - (now + 25h)).count(), 0, 1.1)
      << "as the wall's clock tells";
}

TEST_F(TrustBundleTest, ADamagedFileIsPutAsideAndSaid) {
  (void)bundle.set(kFromCa, old_root, now);
  const std::string whole = build_trust_state(bundle.state());
  for (std::string bad : {std::string("{"), std::string("[]"), whole.substr(0, whole.size() / 2),
                          std::string(whole).replace(whole.find("\"ca\""), 4, "\"xx\"")}) {
    const TempFolder folder;
    ASSERT_TRUE(save_trust_state(folder.at("trust.json"), bad));
    const auto loaded = load_trust_state(folder.at("trust.json"));
    ASSERT_TRUE(loaded.note);
    EXPECT_EQ(loaded.note->id(), "HWS-TR-003");
    EXPECT_THAT(loaded.state.roots, IsEmpty());
    EXPECT_TRUE(file::exists(folder.at("trust.json.damaged")));
    EXPECT_FALSE(file::exists(folder.at("trust.json")));
  }
}

TEST_F(TrustBundleTest, NoFileIsNoDamage) {
  const TempFolder folder;
  EXPECT_FALSE(load_trust_state(folder.at("trust.json")).note);
}

}  // namespace
}  // namespace hawser::certs::test
