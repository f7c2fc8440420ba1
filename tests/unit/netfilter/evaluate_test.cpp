// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/evaluate.h"

#include <gtest/gtest.h>

#include "sample.h"

namespace hawser::netfilter {
namespace {

bool captured(const Intent& intent, const std::string& to, std::uint16_t port, std::uint16_t from = 50000,
              const Guard& guard = {}) {
  const auto plan = compile(intent, guard);
  EXPECT_TRUE(plan);
  return plan && may_capture(*plan, {parse_cidr(to).value(), from, port});
}

TEST(Evaluate, WhatGoesOutIsCapturedInEachFamilyThatHasAListener) {
  EXPECT_TRUE(captured(basic(), "10.9.8.7", 80));
  EXPECT_TRUE(captured(basic(), "fd00::7", 80));
  Intent ipv4 = basic();
  ipv4.ipv6 = false;
  EXPECT_FALSE(captured(ipv4, "fd00::7", 80));
}

TEST(Evaluate, TheNeverListIsLeftAlone) {
  Intent intent = basic();
  intent.never = {{"10.0.0.1", 15012}};
  EXPECT_FALSE(captured(intent, "10.9.8.7", 22));
  EXPECT_FALSE(captured(intent, "10.9.8.7", 40000, 2200, {{2200}}));
  EXPECT_FALSE(captured(intent, "169.254.169.254", 80));
  EXPECT_FALSE(captured(intent, "10.0.0.1", 15012));
  EXPECT_TRUE(captured(intent, "10.0.0.1", 80));
}

TEST(Evaluate, WhatTheOperatorExcludedIsLeftAlone) {
  Intent intent = basic();
  intent.outbound_exclude = {{3000, 3100}};
  intent.outbound_exclude_cidrs = {"10.1.0.0/16", "fd01::/16"};
  EXPECT_FALSE(captured(intent, "10.9.8.7", 3050));
  EXPECT_TRUE(captured(intent, "10.9.8.7", 3101));
  EXPECT_FALSE(captured(intent, "10.1.2.3", 80));
  EXPECT_FALSE(captured(intent, "fd01::3", 80));
}

TEST(Evaluate, WhatIsRefusedIsCapturedToo) {
  Intent intent = basic();
  intent.refuse = true;
  EXPECT_TRUE(captured(intent, "10.9.8.7", 80));
}

TEST(Evaluate, WithoutOutboundRulesNothingIsCaptured) {
  Intent intent = basic();
  intent.capture_outbound = false;
  EXPECT_FALSE(captured(intent, "10.9.8.7", 80));
}

}  // namespace
}  // namespace hawser::netfilter
