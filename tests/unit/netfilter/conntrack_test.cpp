// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/conntrack.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "sample.h"

namespace hawser::netfilter {
namespace {

// What it does to the kernel is shown in a host of its own, by tests/e2e; nothing here reaches this machine's.
TEST(Conntrack, SaysWhyItCantAsk) {
  const auto plan = compile(basic());
  ASSERT_TRUE(plan);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto forgotten = ConnectionTracking().forget_unanswered(*plan);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(forgotten);
  EXPECT_EQ(forgotten.error().id(), "HWS-NF-015");
  EXPECT_FALSE(forgotten.error().hint().empty());
}

TEST(Conntrack, APlanWithoutOutboundAsksNothing) {
  Intent intent = basic();
  intent.capture_outbound = false;
  const auto plan = compile(intent);
  ASSERT_TRUE(plan);
  EXPECT_EQ(ConnectionTracking().forget_unanswered(*plan).value_or(1), 0U);
}

}  // namespace
}  // namespace hawser::netfilter
