// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "in_namespace.h"

namespace hawser::netfilter {
namespace {

using ::testing::HasSubstr;

Plan tproxy(Family family = Family::kBoth, std::uint32_t mark = 0x539) {
  Plan plan;
  plan.inbound = true;
  plan.ipv4 = family != Family::kIpv6;
  plan.ipv6 = family != Family::kIpv4;
  plan.tproxy = Tproxy{mark, 0xffffffff, 133};
  return plan;
}

// What `ip` shows of all that interception may touch.
std::string routes() {
  return output_of(
      "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; "
      "ip -6 address show dev lo");
}

TEST(Routing, IsNeededForTproxyAlone) {
  EXPECT_TRUE(routing_of(Plan{}).empty());
  EXPECT_EQ(routing_of(tproxy(Family::kIpv4)).size(), 2U);
  EXPECT_EQ(routing_of(tproxy()).size(), 5U);
}

TEST(Routing, LeadsMarkedPacketsToThisHostAndGoesWithoutATrace) {
  in_namespace([] {
    const std::string before = routes();
    const Routing wanted = routing_of(tproxy());
    const auto added = add_routing(wanted);
    ASSERT_TRUE(added) << added.error().to_string();
    EXPECT_THAT(output_of("ip route get 203.0.113.7 mark 0x539"), HasSubstr("local 203.0.113.7 dev lo table 133"));
    EXPECT_THAT(output_of("ip -6 route get 2001:db8::7 mark 0x539"), HasSubstr("local 2001:db8::7"));
    EXPECT_THAT(output_of("ip -6 address show dev lo"), HasSubstr("::6/128"));
    EXPECT_THAT(output_of("ip rule"), HasSubstr("fwmark 0x539 lookup 133 proto 147"));
    EXPECT_EQ(observe_routing().value(), wanted);
    const std::string once = routes();
    EXPECT_TRUE(add_routing(wanted));
    EXPECT_EQ(routes(), once) << "again changes nothing";
    EXPECT_TRUE(trim_routing());
    EXPECT_EQ(routes(), before);
    EXPECT_TRUE(trim_routing()) << "nothing to remove is fine";
  });
}

TEST(Routing, ATableOfManyAndAMaskedMark) {
  in_namespace([] {
    Plan plan = tproxy();
    plan.tproxy = Tproxy{0x10000, 0xff0000, 4000};
    const std::string before = routes();
    const auto added = add_routing(routing_of(plan));
    ASSERT_TRUE(added) << added.error().to_string();
    EXPECT_THAT(output_of("ip route get 203.0.113.7 mark 0x10005"), HasSubstr("local 203.0.113.7 dev lo table 4000"));
    EXPECT_EQ(observe_routing().value(), routing_of(plan));
    ASSERT_TRUE(trim_routing());
    EXPECT_EQ(routes(), before);
  });
}

TEST(Routing, AnotherMarkReplacesTheOldOne) {
  in_namespace([] {
    ASSERT_TRUE(add_routing(routing_of(tproxy(Family::kIpv4, 0x539))));
    const Routing wanted = routing_of(tproxy(Family::kIpv4, 0x777));
    ASSERT_TRUE(add_routing(wanted));
    ASSERT_TRUE(trim_routing(wanted));
    EXPECT_EQ(observe_routing().value(), wanted);
  });
}

struct Theirs {
  const char* command;
  const char* named;  // in the refusal
};

TEST(Routing, WhatOthersMadeIsNamedAndNotTouched) {
  const Theirs all[] = {
      {"ip rule add fwmark 0x539 lookup 200", "ip rule 32765 (IPv4): mark 0x539/0xffffffff, table 200"},
      {"ip -6 rule add fwmark 0x539 lookup 133", "ip rule 32765 (IPv6)"},
      {"ip rule add priority 10 fwmark 0x1/0x1 lookup 200", "ip rule 10 (IPv4): mark 0x1/0x1"},
      {"ip route add local default dev lo table 133", "a route in table 133"}};
  for (const Theirs& theirs : all) {
    in_namespace([&theirs] {
      (void)output_of(theirs.command);
      const std::string before = routes();
      const auto added = add_routing(routing_of(tproxy()));
      ASSERT_FALSE(added) << theirs.command;
      EXPECT_EQ(added.error().id(), "HWS-NF-053");
      EXPECT_THAT(added.error().to_string(), HasSubstr(theirs.named));
      EXPECT_TRUE(trim_routing());
      EXPECT_EQ(routes(), before);
    });
  }
}

TEST(Routing, RulesOfOtherMarksAndAnAddressOfOthersAreNoHindrance) {
  in_namespace([] {
    (void)output_of(
        "ip rule add fwmark 0x1/0x1 lookup 200; ip rule add fwmark 0x540 lookup 201; ip -6 address add ::6/128 dev lo");
    const std::string before = routes();
    const auto added = add_routing(routing_of(tproxy()));
    ASSERT_TRUE(added) << added.error().to_string();
    ASSERT_TRUE(trim_routing());
    EXPECT_EQ(routes(), before);
  });
}

}  // namespace
}  // namespace hawser::netfilter
