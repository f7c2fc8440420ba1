// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace hawser::bootstrap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Family = AddressRule::Family;

std::vector<std::string> chosen(const AddressRule& rule, const AddressFacts& facts) {
  auto out = choose_addresses(rule, facts);
  return out ? out->addresses : std::vector<std::string>{out.error().id()};
}

AddressRule by_interface(const std::string& name) {
  AddressRule rule;
  rule.interface = name;
  return rule;
}
AddressRule by_cidr(const std::string& cidr) {
  AddressRule rule;
  rule.cidrs = {cidr};
  return rule;
}
AddressRule by_family(Family family) {
  AddressRule rule;
  rule.family = family;
  return rule;
}

// eth0 has the default route, eth1 the one to the control plane.
AddressFacts facts() {
  AddressFacts out;
  out.towards_plane = "10.77.0.20";
  out.default_v4 = "192.0.2.20";
  out.default_v6 = "2001:db8::20";
  out.interfaces = {{"127.0.0.1", "lo", 1, ""},
                    {"172.17.0.1", "docker0", 4, ""},
                    {"192.0.2.20", "eth0", 2, ""},
                    {"10.77.0.20", "eth1", 3, ""},
                    {"::1", "lo", 1, ""},
                    {"2001:db8::20", "eth0", 2, ""},
                    {"fe80::1", "eth0", 2, ""},
                    {"fd77::20", "eth1", 3, ""},
                    {"2001:db8::9", "eth0", 2, "it is temporary (privacy extensions)"}};
  return out;
}

TEST(Address, WhatIsConfiguredIsTold) {
  AddressRule rule;
  rule.fixed = {"203.0.113.7"};
  EXPECT_THAT(chosen(rule, facts()), ElementsAre("203.0.113.7"));
}

TEST(Address, ElseTheRouteToTheControlPlaneDecidesAndTheOtherFamilyFollows) {
  EXPECT_THAT(chosen({}, facts()), ElementsAre("10.77.0.20", "2001:db8::20"));
}

TEST(Address, WithoutADefaultRouteTheFirstAddressOfTheOtherFamilyFollows) {
  auto seen = facts();
  seen.default_v6.reset();
  EXPECT_THAT(chosen({}, seen), ElementsAre("10.77.0.20", "2001:db8::20"));  // eth0 has the lower index
}

TEST(Address, AControlPlaneInIpv6PutsIpv6First) {
  auto seen = facts();
  seen.towards_plane = "fd77::20";
  EXPECT_THAT(chosen({}, seen), ElementsAre("fd77::20", "192.0.2.20"));
}

TEST(Address, AControlPlaneOnLoopbackOrInAContainerTellsNothingAboutTheAddress) {
  for (const char* source : {"127.0.0.1", "172.17.0.1"}) {
    auto seen = facts();
    seen.towards_plane = source;
    EXPECT_THAT(chosen({}, seen), ElementsAre("192.0.2.20", "2001:db8::20")) << source;
  }
}

TEST(Address, AnInterfaceMayBeNamedAlsoOneOfContainers) {
  EXPECT_THAT(chosen(by_interface("eth0"), facts()), ElementsAre("192.0.2.20", "2001:db8::20"));
  EXPECT_THAT(chosen(by_interface("docker0"), facts()), ElementsAre("172.17.0.1"));
}

TEST(Address, ANetworkMayBeNamed) {
  EXPECT_THAT(chosen(by_cidr("192.0.2.0/28"), facts()), ElementsAre("HWS-AR-002"));
  EXPECT_THAT(chosen(by_cidr("192.0.2.16/28"), facts()), ElementsAre("192.0.2.20"));
  EXPECT_THAT(chosen(by_cidr("fd00::/8"), facts()), ElementsAre("fd77::20"));
  EXPECT_THAT(chosen(by_cidr("172.16.0.0/12"), facts()), ElementsAre("HWS-AR-002")) << "docker's bridge";
  EXPECT_THAT(chosen(by_cidr("0.0.0.0/0"), facts()), ElementsAre("10.77.0.20")) << "the route decides";
}

TEST(Address, AFamilyMayBeAskedFor) {
  EXPECT_THAT(chosen(by_family(Family::kV4), facts()), ElementsAre("10.77.0.20"));
  EXPECT_THAT(chosen(by_family(Family::kV6), facts()), ElementsAre("2001:db8::20"));
  EXPECT_THAT(chosen(by_family(Family::kDual), facts()), ElementsAre("10.77.0.20", "2001:db8::20"));
  AddressRule dual = by_interface("docker0");
  dual.family = Family::kDual;
  EXPECT_THAT(chosen(dual, facts()), ElementsAre("HWS-AR-002"));
}

TEST(Address, ARuleThatLeavesAChoiceIsAnErrorThatNamesIt) {
  auto seen = facts();
  seen.interfaces.push_back({"10.77.0.21", "eth1", 3, ""});
  EXPECT_THAT(chosen(by_interface("eth1"), seen), ElementsAre("10.77.0.20", "fd77::20")) << "the route decides";
  seen.towards_plane = "192.0.2.20";
  const auto choice = choose_addresses(by_interface("eth1"), seen);
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().id(), "HWS-AR-003");
  EXPECT_THAT(choice.error().message(), HasSubstr("10.77.0.20 (eth1), 10.77.0.21 (eth1)"));
}

TEST(Address, ARuleThatFitsNothingTellsWhyOfEach) {
  const auto choice = choose_addresses(by_interface("eth7"), facts());
  ASSERT_FALSE(choice);
  EXPECT_EQ(choice.error().id(), "HWS-AR-002");
  EXPECT_THAT(choice.error().message(), HasSubstr("10.77.0.20 (eth1): other interface"));
}

TEST(Address, AHostWithLoopbackAloneIsAnError) {
  AddressFacts seen;
  seen.interfaces = {
      {"127.0.0.1", "lo", 1, ""}, {"::1", "lo", 1, ""}, {"fe80::1", "eth0", 2, ""}, {"169.254.3.4", "eth0", 2, ""}};
  EXPECT_THAT(chosen({}, seen), ElementsAre("HWS-AR-001"));
}

TEST(Address, WhatWasNotTakenIsToldWithItsReason) {
  const auto choice = choose_addresses({}, facts());
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->rule, "the route to the control plane");
  std::map<std::string, std::string> why;
  for (const auto& item : choice->rejected) why[item.address] = item.reason;
  EXPECT_EQ(why.size(), 7U);
  EXPECT_THAT(why["172.17.0.1"], HasSubstr("containers"));
  EXPECT_THAT(why["2001:db8::9"], HasSubstr("temporary"));
  EXPECT_THAT(why["fe80::1"], HasSubstr("link-local"));
  EXPECT_THAT(why["192.0.2.20"], HasSubstr("route"));
}

TEST(Address, TheKernelsOrderChangesNothing) {
  std::mt19937 random(7);
  auto seen = facts();
  seen.interfaces.push_back({"198.51.100.4", "eth2", 5, ""});
  seen.towards_plane.reset();
  seen.default_v4.reset();
  const auto first = choose_addresses({}, seen);
  ASSERT_TRUE(first);
  for (int i = 0; i < 200; ++i) {
    std::shuffle(seen.interfaces.begin(), seen.interfaces.end(), random);
    const auto again = choose_addresses({}, seen);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->addresses, first->addresses);
  }
}

TEST(Address, GlobalMeansReachableByOthers) {
  for (const char* yes : {"10.0.0.1", "192.0.2.1", "2001:db8::1", "fd00::1"}) EXPECT_TRUE(is_global(yes)) << yes;
  for (const char* no : {"127.0.0.2", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1",
                         "::", "fe80::1", "ff02::1", "::ffff:10.0.0.1", "", "host"})
    EXPECT_FALSE(is_global(no)) << no;
}

TEST(Address, ObservingFindsTheSourceTowardsLoopbackWithoutAPacket) {
  const auto seen = observe_addresses("127.0.0.1");
  EXPECT_EQ(seen.towards_plane, "127.0.0.1");
  EXPECT_EQ(observe_addresses("no address").towards_plane, std::nullopt);
  const auto lo = std::find_if(seen.interfaces.begin(), seen.interfaces.end(),
                               [](const auto& item) { return item.address == "127.0.0.1"; });
  ASSERT_NE(lo, seen.interfaces.end());
  EXPECT_EQ(lo->interface, "lo");
}

}  // namespace
}  // namespace hawser::bootstrap
