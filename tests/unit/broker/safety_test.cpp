// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/safety.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hawser::broker {
namespace {

netfilter::Plan plan_of(const netfilter::Intent& intent, const netfilter::Guard& guard = {}) {
  auto plan = netfilter::compile(intent, guard);
  EXPECT_TRUE(plan);
  return plan ? *plan : netfilter::Plan();
}

netfilter::Intent everything() {
  netfilter::Intent intent;
  intent.exempt_uids = {881, 882};
  intent.ipv6 = true;
  return intent;
}

// What a mistake in the planner would be.
netfilter::Plan without(netfilter::Plan plan, netfilter::Purpose purpose) {
  const auto gone = std::remove_if(plan.rules.begin(), plan.rules.end(),
                                   [purpose](const auto& rule) { return rule.purpose == purpose; });
  EXPECT_NE(gone, plan.rules.end());
  plan.rules.erase(gone, plan.rules.end());
  return plan;
}

TEST(Safety, ASessionThatWouldBeCapturedIsNamed) {
  const auto status = check_sessions(plan_of(everything()), {{"10.0.0.9", 50000, "10.0.0.1", 2200}});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().id(), "HWS-BR-035");
  EXPECT_NE(status.error().message().find("10.0.0.9:50000 to 10.0.0.1:2200"), std::string::npos);
}

TEST(Safety, AnAddressWithItsInterfaceIsReadToo) {
  const std::vector<Session> session{{"fe80::9%eth0", 50000, "fe80::1%eth0", 2200}};
  EXPECT_TRUE(check_sessions(plan_of(everything()), session)) << "link-local addresses are left alone";
  EXPECT_FALSE(check_sessions(without(plan_of(everything()), netfilter::Purpose::kMetadata), session));
}

TEST(Safety, ASessionThatIsLeftAloneIsFine) {
  EXPECT_TRUE(check_sessions(plan_of(everything()), {{"10.0.0.9", 50000, "10.0.0.1", 22}}));
  netfilter::Guard guard;
  guard.ssh_ports = {2200};
  EXPECT_TRUE(check_sessions(plan_of(everything(), guard), {{"10.0.0.9", 50000, "10.0.0.1", 2200}}));
  auto excluded = everything();
  excluded.inbound_exclude = {{2200, 2200}};
  EXPECT_TRUE(check_sessions(plan_of(excluded), {{"fd00::9", 50000, "fd00::1", 2200}}));
}

TEST(Safety, WhatIsNoSessionIsNoReason) {
  EXPECT_TRUE(check_sessions(plan_of(everything()), {{"here", 1, "there", 2}, {"10.0.0.9", 1, "10.0.0.1", 0}}));
}

TEST(Safety, APlanWithoutItsRuleForSshIsRefused) {
  const auto broken = without(plan_of(everything()), netfilter::Purpose::kSsh);
  EXPECT_FALSE(check_sessions(broken, {{"10.0.0.9", 50000, "10.0.0.1", 22}}));
}

TEST(Safety, APlanWithoutItsRuleForTheControlPlaneIsRefused) {
  auto intent = everything();
  intent.never = {{"10.0.0.7", 15012}};
  EXPECT_TRUE(check_never(plan_of(intent), intent.never));
  const auto status = check_never(without(plan_of(intent), netfilter::Purpose::kControlPlane), intent.never);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().id(), "HWS-BR-036");
}

TEST(Safety, DnsGoesOnlyWhereSomebodyListens) {
  netfilter::Plan plan = plan_of(everything());
  const auto bound = [](std::uint16_t) { return Result<bool>(true); };
  const auto nobody = [](std::uint16_t) { return Result<bool>(false); };
  EXPECT_TRUE(check_dns(plan, nobody, nobody)) << "it isn't captured";
  plan.dns_port = 15053;
  EXPECT_TRUE(check_dns(plan, bound, bound));
  EXPECT_EQ(check_dns(plan, nobody, bound).error().id(), "HWS-BR-037");
  EXPECT_EQ(check_dns(plan, bound, nobody).error().id(), "HWS-BR-037");
}

}  // namespace
}  // namespace hawser::broker
