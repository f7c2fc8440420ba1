// SPDX-License-Identifier: Apache-2.0
#include "certs/crl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "test_ca.h"
#include "test_crl.h"

namespace hawser::certs::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class CrlTest : public testing::Test {
 protected:
  std::string id(const std::string& lists, const std::string& roots, const std::string& chain) const {
    const auto verdict = judge_crls(lists, roots, chain, now);
    return verdict.trouble ? verdict.trouble->id() : "";
  }

  Loop::Wall now = std::chrono::system_clock::now();
  CrlIssuer old_ca{"old"};
  CrlIssuer new_ca{"new"};
  std::string leaf = old_ca.certificate();  // stands for a leaf that the root signed: only what follows it counts
};

TEST_F(CrlTest, AListOfEachRootIsGivenToTheProxy) {
  const std::string lists = old_ca.list(now - 1h, now + 1h) + new_ca.list(now - 1h, now + 2h, 3);
  const auto verdict = judge_crls(lists, old_ca.certificate() + new_ca.certificate(), leaf, now);
  ASSERT_FALSE(verdict.trouble) << verdict.trouble->to_string();
  EXPECT_EQ(verdict.pem, lists);
  EXPECT_FALSE(verdict.leaf_only);
  ASSERT_EQ(verdict.lists.size(), 2u);
  EXPECT_EQ(verdict.lists[1].revoked, 3u);
  ASSERT_TRUE(verdict.until);
  EXPECT_LE(*verdict.until, now + 1h) << "the first one that ends";
}

TEST_F(CrlTest, ARootWithoutAListWouldBeCutOff) {
  const auto verdict =
      judge_crls(old_ca.list(now - 1h, now + 1h), old_ca.certificate() + new_ca.certificate(), leaf, now);
  ASSERT_TRUE(verdict.trouble);
  EXPECT_EQ(verdict.trouble->id(), "HWS-TR-011");
  EXPECT_THAT(verdict.trouble->message(), HasSubstr("CN=new"));
  EXPECT_EQ(verdict.pem, "");
}

TEST_F(CrlTest, AListThatEndedOrHasntBegunWouldCutAllOff) {
  EXPECT_EQ(id(old_ca.list(now - 2h, now - 1h), old_ca.certificate(), leaf), "HWS-TR-010");
  EXPECT_EQ(id(old_ca.list(now + 1h, now + 2h), old_ca.certificate(), leaf), "HWS-TR-010");
  EXPECT_EQ(id(old_ca.list(now - 2h, now - 1h) + old_ca.list(now - 1h, now + 1h), old_ca.certificate(), leaf), "");
}

TEST_F(CrlTest, AnothersListIsNone) {
  CrlIssuer liar("old");
  EXPECT_EQ(id(liar.list(now - 1h, now + 1h), old_ca.certificate(), leaf), "HWS-TR-011") << "the name alone";
}

TEST_F(CrlTest, WhereIntermediatesSignTheirListsAreEnough) {
  const std::string chain = leaf + new_ca.certificate();
  EXPECT_EQ(id(old_ca.list(now - 1h, now + 1h), old_ca.certificate(), chain), "HWS-TR-011")
      << "the intermediate's is lacking";
  const auto own = judge_crls(new_ca.list(now - 1h, now + 1h), old_ca.certificate(), chain, now);
  EXPECT_FALSE(own.trouble);
  EXPECT_TRUE(own.leaf_only);
  const auto both =
      judge_crls(new_ca.list(now - 1h, now + 1h) + old_ca.list(now - 1h, now + 1h), old_ca.certificate(), chain, now);
  EXPECT_FALSE(both.trouble);
  EXPECT_FALSE(both.leaf_only);
}

TEST_F(CrlTest, WhatIsNoListIsSaid) {
  for (const std::string& bad : {std::string(), std::string("x"), old_ca.certificate(),
                                 std::string("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")})
    EXPECT_EQ(id(bad, old_ca.certificate(), leaf), "HWS-TR-009") << bad;
}

}  // namespace
}  // namespace hawser::certs::test
