// SPDX-License-Identifier: Apache-2.0
// What is refused, and that it leaves nothing; tests/e2e has real Envoys.
#include "binaries/install.h"
#include "binaries/tools.h"

#include <sha2.h>
#include <unistd.h>

#include "store_fixture.h"

namespace hawser::binaries {
namespace {

using proxy::BinaryLink;

std::string sha256(const std::string& content) {
  char hex[SHA256_DIGEST_STRING_LENGTH];
  return ::SHA256Data(reinterpret_cast<const std::uint8_t*>(content.data()), content.size(), hex);
}

class InstallTest : public StoreTest {
 protected:
  std::string id_of(const Wanted& wanted) {
    auto installed = install(store_, wanted, {65534, 65534}, [](const std::string&) {});
    // Whatever happened.
    EXPECT_TRUE(entries().empty());
    return installed ? "installed" : installed.error().id();
  }
};

TEST_F(InstallTest, AUrlNeedsADigest) {
  EXPECT_EQ(id_of({"https://example.invalid/envoy", "", {}}), "HWS-CLI-041");
  EXPECT_EQ(id_of({"https://example.invalid/envoy", "abc", {}}), "HWS-CLI-041");
}

TEST_F(InstallTest, OnlyHttpIsFetched) {
  EXPECT_EQ(id_of({"file:///bin/true", sha256(""), {}}), "HWS-CLI-043");
  EXPECT_EQ(id_of({"ftp://example.invalid/envoy", sha256(""), {}}), "HWS-CLI-043");
}

TEST(Url, IsShownAndKeptWithoutWhatMayBeASecret) {
  EXPECT_EQ(without_secrets("https://me:word@host.example:8443/a/envoy"), "https://host.example:8443/a/envoy");
  EXPECT_EQ(without_secrets("https://host.example/envoy?signature=abc#x"), "https://host.example/envoy?...");
  EXPECT_EQ(without_secrets("https://word@host.example"), "https://host.example");
  EXPECT_EQ(without_secrets("https://host.example/a@b"), "https://host.example/a@b");
  EXPECT_EQ(without_secrets("/opt/envoy?"), "/opt/envoy?");
}

TEST_F(InstallTest, AUrlThatWouldBeMoreThanOneIsRefused) {
  EXPECT_EQ(id_of({"http://127.0.0.1:1/a\"\noutput = /etc/passwd", sha256(""), {}}), "HWS-CLI-043");
}

TEST_F(InstallTest, AnotherDigestIsRefused) {
  const std::string path = write("envoy", "content");
  EXPECT_EQ(id_of({path, sha256("other"), {}}), "HWS-CLI-042");
  EXPECT_EQ(id_of({path, sha256("content"), {}}), "HWS-CLI-004");  // only then it's looked at
}

TEST_F(InstallTest, WhatIsNoFileOrNoProgramIsRefused) {
  EXPECT_EQ(id_of({root_ + "/none", "", {}}), "HWS-CLI-004");
  EXPECT_EQ(id_of({root_, "", {}}), "HWS-CLI-004");
  EXPECT_EQ(id_of({write("empty", ""), "", {}}), "HWS-CLI-004");
  EXPECT_EQ(id_of({write("script", "#!/bin/sh\n"), "", {}}), "HWS-CLI-004");
}

TEST_F(InstallTest, ADamagedPackageIsRefused) {
  EXPECT_EQ(id_of({write("envoy.whl", "PK\x03\x04 but no more"), "", {}}), "HWS-CLI-040");
  EXPECT_EQ(id_of({write("envoy.deb", "!<arch>\nbut no more"), "", {}}), "HWS-CLI-040");
  EXPECT_EQ(id_of({write("other.deb", ""), "", {}}), "HWS-CLI-040");
}

TEST_F(InstallTest, ASignatureThatIsNotThereIsRefused) {
  const Wanted wanted{write("envoy", "content"), "", SignatureCheck{Signer::kGpg, root_ + "/ring", root_ + "/none"}};
  EXPECT_EQ(id_of(wanted), "HWS-CLI-044");
}

TEST_F(InstallTest, AProgramThatIsNoEnvoyIsRunWithoutRightsAndRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give it up";
  EXPECT_EQ(id_of({"/bin/true", "", {}}), "HWS-CLI-046");
  EXPECT_EQ(id_of({"/bin/false", "", {}}), "HWS-CLI-046");
}

TEST_F(InstallTest, NoProgramIsRunAsRoot) {
  auto installed = install(store_, {"/bin/true", "", {}}, {0, 0}, [](const std::string&) {});
  ASSERT_FALSE(installed);
  EXPECT_EQ(installed.error().id(), "HWS-CLI-046");
  EXPECT_TRUE(entries().empty());
}

TEST_F(InstallTest, UsingOneRemembersTheOneBefore) {
  add('a', 1);
  add('b', 1);
  ASSERT_TRUE(use(store_, digest('a')));
  EXPECT_EQ(store_.target(BinaryLink::kPrevious), "");
  ASSERT_TRUE(use(store_, digest('b')));
  ASSERT_TRUE(use(store_, digest('b')));
  EXPECT_EQ(store_.target(BinaryLink::kCurrent), digest('b'));
  EXPECT_EQ(store_.target(BinaryLink::kPrevious), digest('a'));
  ASSERT_TRUE(store_.set_quarantine(digest('a'), {"it crashed", 1, "hawserd"}));
  EXPECT_EQ(use(store_, digest('a')).error().id(), "HWS-BR-027");
  EXPECT_EQ(use(store_, digest('c')).error().id(), "HWS-BR-030");
  EXPECT_EQ(store_.target(BinaryLink::kCurrent), digest('b'));
}

TEST_F(InstallTest, TheBeginningOfADigestFindsTheOnlyOne) {
  add('a', 1);
  const std::string close = std::string(63, 'a') + "b";
  write("bin/" + close + "/quarantine.json", "{}");
  EXPECT_FALSE(find(store_, "aaaaaaaa"));
  EXPECT_EQ(find(store_, close).value(), close);
  add('c', 1);
  EXPECT_EQ(find(store_, "cccccc").value(), digest('c'));
  EXPECT_EQ(find(store_, "ccccc").error().id(), "HWS-CLI-048");
  EXPECT_EQ(find(store_, "dddddd").error().id(), "HWS-CLI-048");
}

}  // namespace
}  // namespace hawser::binaries
