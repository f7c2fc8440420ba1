// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "netfilter/plan.h"

namespace hawser::netfilter {

// Both directions and families; the proxy (882) and the agent (881) are exempt.
inline Intent basic() {
  Intent intent;
  intent.ipv6 = true;
  intent.exempt_uids = {882, 881};
  intent.exempt_gids = {882};
  return intent;
}

inline Plan must(const Intent& intent, const Guard& guard = {}) {
  auto plan = compile(intent, guard);
  EXPECT_TRUE(plan) << plan.error().to_string();
  return plan ? *plan : Plan{};
}

// Of the refusal.
inline std::string id_of(const Intent& intent) {
  auto plan = compile(intent);
  return plan ? "accepted" : plan.error().id();
}

}  // namespace hawser::netfilter
