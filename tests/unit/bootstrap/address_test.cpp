// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hawser::bootstrap {
namespace {

using testing::ElementsAre;

std::vector<std::string> chosen(const std::vector<std::string>& configured, const AddressFacts& facts) {
  auto out = choose_addresses(configured, facts);
  return out ? *out : std::vector<std::string>{out.error().id()};
}

AddressFacts facts() {
  AddressFacts out;
  out.towards_plane = "10.77.0.20";
  out.default_v4 = "192.0.2.20";
  out.default_v6 = "2001:db8::20";
  out.interfaces = {"127.0.0.1", "172.17.0.1", "192.0.2.20", "10.77.0.20", "::1", "fe80::1", "fd77::20"};
  return out;
}

TEST(Address, WhatIsConfiguredIsTold) {
  EXPECT_THAT(chosen({"203.0.113.7"}, facts()), ElementsAre("203.0.113.7"));
}

TEST(Address, ElseTheRouteToTheControlPlaneDecidesAndTheOtherFamilyFollows) {
  EXPECT_THAT(chosen({}, facts()), ElementsAre("10.77.0.20", "2001:db8::20"));
}

TEST(Address, WithoutADefaultRouteTheFirstGlobalAddressOfTheOtherFamilyFollows) {
  auto seen = facts();
  seen.default_v6.reset();
  EXPECT_THAT(chosen({}, seen), ElementsAre("10.77.0.20", "fd77::20"));
}

TEST(Address, AControlPlaneInIpv6PutsIpv6First) {
  auto seen = facts();
  seen.towards_plane = "fd77::20";
  EXPECT_THAT(chosen({}, seen), ElementsAre("fd77::20", "192.0.2.20"));
}

TEST(Address, AControlPlaneOnLoopbackTellsNothingAboutTheAddress) {
  auto seen = facts();
  seen.towards_plane = "127.0.0.1";
  EXPECT_THAT(chosen({}, seen), ElementsAre("192.0.2.20", "2001:db8::20"));
}

TEST(Address, AHostWithLoopbackAloneIsAnError) {
  AddressFacts seen;
  seen.interfaces = {"127.0.0.1", "::1", "fe80::1", "169.254.3.4"};
  EXPECT_THAT(chosen({}, seen), ElementsAre("HWS-AR-001"));
}

TEST(Address, GlobalMeansReachableByOthers) {
  for (const char* yes : {"10.0.0.1", "192.0.2.1", "2001:db8::1", "fd00::1"}) EXPECT_TRUE(is_global(yes)) << yes;
  for (const char* no : {"127.0.0.2", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1",
                         "::", "fe80::1", "ff02::1", "::ffff:10.0.0.1", "", "host"})
    EXPECT_FALSE(is_global(no)) << no;
}

TEST(Address, ObservingFindsTheSourceTowardsLoopbackWithoutAPacket) {
  EXPECT_EQ(observe_addresses("127.0.0.1").towards_plane, "127.0.0.1");
  EXPECT_EQ(observe_addresses("no address").towards_plane, std::nullopt);
}

}  // namespace
}  // namespace hawser::bootstrap
