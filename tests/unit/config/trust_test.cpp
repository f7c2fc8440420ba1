// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "only_error.h"

namespace hawser::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ConfigTrust, IsReadWhole) {
  const std::string digest(64, 'a');
  std::string colons;
  for (int i = 0; i < 32; ++i) colons += i == 0 ? "AA" : ":AA";
  const Loaded loaded = parse(
      "trust:\n  roots: [/etc/a.pem, /etc/b.pem]\n  from_control_plane: false\n  overlap: 48h\n  crl: /etc/crl.pem\n"
      "  domain_aliases: [old.example]\n  exclude: ['" +
          colons + "']\n",
      "h.yaml");
  ASSERT_TRUE(loaded.errors.empty()) << loaded.errors[0].to_string();
  const TrustSettings& trust = loaded.config.trust;
  EXPECT_THAT(trust.roots, ElementsAre("/etc/a.pem", "/etc/b.pem"));
  EXPECT_FALSE(trust.from_control_plane);
  EXPECT_EQ(trust.overlap, std::chrono::hours(48));
  EXPECT_EQ(trust.crl, "/etc/crl.pem");
  EXPECT_THAT(trust.domain_aliases, ElementsAre("old.example"));
  EXPECT_THAT(trust.exclude, ElementsAre(digest));
}

TEST(ConfigTrust, TheDefaultKeepsOldRootsForADay) {
  const TrustSettings trust = parse("", "h.yaml").config.trust;
  EXPECT_EQ(trust.overlap, std::chrono::hours(24));
  EXPECT_TRUE(trust.from_control_plane);
}

TEST(ConfigTrust, WhatIsWrongIsSaid) {
  EXPECT_THAT(only_error("trust: {roots: [etc/a.pem]}"), HasSubstr("is not an absolute path"));
  EXPECT_THAT(only_error("trust: {crl: crl.pem}"), HasSubstr("is not an absolute path"));
  EXPECT_THAT(only_error("trust: {exclude: [abc]}"), HasSubstr("is not a certificate's SHA-256"));
  EXPECT_THAT(only_error("trust: {overlap: 9000h}"), HasSubstr("is not a duration up to a year"));
  EXPECT_THAT(only_error("trust: {from_control_plane: perhaps}"), HasSubstr("HWS-CF-"));
}

}  // namespace
}  // namespace hawser::config
