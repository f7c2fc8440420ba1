// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/emit_xtables.h"

#include <gtest/gtest.h>

#include "netfilter/xtables_tree.h"
#include "sample.h"
#include "xtables_sample.h"

namespace hawser::netfilter {
namespace {

TEST(EmitXtables, TablesComeByFamilyInThePacketsOrder) {
  auto form = emit_xtables(every_kind());
  ASSERT_TRUE(form) << form.error().to_string();
  std::string order;
  for (const auto& table : form->tables)
    order += std::string(table.family == Family::kIpv6 ? "6" : "4") + to_string(table.table) + " ";
  EXPECT_EQ(order, "4raw 4mangle 4nat 4filter 6raw 6mangle 6nat 6filter ");
}

TEST(EmitXtables, AFamilyThatIsntCapturedHasNoTables) {
  Intent intent = basic();
  intent.ipv6 = false;
  auto form = emit_xtables(compile(intent).value());
  ASSERT_TRUE(form);
  EXPECT_EQ(to_iptables(*form, Family::kIpv6), "");
  EXPECT_NE(to_iptables(*form, Family::kIpv4), "");
}

TEST(EmitXtables, AllThatCantBeSaidIsSaidAtOnce) {
  Plan plan;
  plan.ipv4 = true;
  Match interface;
  interface.interfaces = {"a-name-far-too-long"};
  Match owner;
  owner.uids = {1};
  plan.rules = {{Hook::kOutput, Purpose::kInterface, interface, {}},
                {Hook::kPrerouting, Purpose::kExemptUser, owner, {}},
                {Hook::kOutput, Purpose::kInvalid, {}, {Action::Kind::kDrop}}};
  auto form = emit_xtables(plan);
  ASSERT_FALSE(form);
  EXPECT_EQ(form.error().id(), "HWS-NF-070");
  for (const char* part : {"a-name-far-too-long", "outgoing packets only", "can't drop"})
    EXPECT_NE(form.error().message().find(part), std::string::npos) << form.error().message();
}

TEST(EmitXtables, LimitsAreTold) {
  auto form = emit_xtables(every_kind());
  ASSERT_TRUE(form);
  std::string all;
  for (const auto& limit : form->limits) all += limit + "\n";
  EXPECT_NE(all.find("no owner"), std::string::npos);
  EXPECT_NE(all.find("no sets"), std::string::npos);
  EXPECT_NE(all.find("filter table"), std::string::npos);
}

// The longest way of a packet through a list that doesn't contain it.
std::size_t comparisons(const std::vector<Cidr>& networks, const Cidr& address) {
  if (networks.size() <= kLeafWidth) return networks.size();
  std::size_t out = 0;
  for (const auto& group : split_networks(networks)) {
    ++out;
    if (group.networks.size() > 1 && group.common.contains(address)) return out + comparisons(group.networks, address);
  }
  return out;
}

TEST(XtablesTree, AFewComparisonsTellOfThousands) {
  std::vector<Cidr> networks;
  for (unsigned i = 0; i < 5000; ++i)
    networks.push_back(parse_cidr("10." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24").value());
  EXPECT_LE(comparisons(networks, parse_cidr("10.7.251.1").value()), 80U);
  EXPECT_LE(comparisons(networks, parse_cidr("192.0.2.1").value()), kTreeWidth);
}

TEST(XtablesTree, GroupsHoldAllNetworksOnceAndNoOthers) {
  std::vector<Cidr> networks;
  for (unsigned i = 0; i < 300; ++i)
    networks.push_back(parse_cidr("fd00:" + std::to_string(i * 7 % 100) + ":" + std::to_string(i) + "::/48").value());
  networks.push_back(parse_cidr("2000::/3").value());
  std::size_t total = 0;
  for (const auto& group : split_networks(networks)) {
    total += group.networks.size();
    EXPECT_LT(group.networks.size(), networks.size());
    for (const auto& network : group.networks) EXPECT_TRUE(group.common.contains(network));
  }
  EXPECT_EQ(total, networks.size());
}

}  // namespace
}  // namespace hawser::netfilter
