// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <set>
#include <string>

#include "base/result.h"
#include "netfilter/plan.h"

// What: the routing that rules of a plan count on. TPROXY's mark leads, by a policy rule and a table of its own, to a
// route that says "all of it is local": so packets for the proxy's transparent sockets get to them, and answers to
// callers' addresses that the proxy borrowed come back to it. And ::6, from which the proxy calls the programs behind
// it (of 127.0.0.6 each Linux has a route). Ours are recognised by protocol number and metric, so they're removed
// without configuration, and what others made is never touched. Threading: blocking, a millisecond or two. Failure:
// HWS-NF-052 (kernel), HWS-NF-053 (mark or table is somebody's).
namespace hawser::netfilter {

// In front of all rules but the kernel's own for local addresses.
inline constexpr std::uint32_t kRoutingPriority = 133;

struct RoutingItem {
  enum class Kind { kRule, kRoute, kAddress };
  Kind kind = Kind::kRule;
  Family family = Family::kIpv4;
  std::uint32_t table = 0;  // of rules and routes
  std::uint32_t mark = 0;   // of rules
  std::uint32_t mask = 0;
  auto operator<=>(const RoutingItem&) const = default;
};
using Routing = std::set<RoutingItem>;

// What the plan needs.
Routing routing_of(const Plan& plan);
// Ours, in the kernel.
Result<Routing> observe_routing();
// For people, and to notice changes; empty if there is none.
std::string to_string(const Routing& routing);

// Refuses what is somebody else's before it adds anything. What is there already stays. If it fails, what it added
// goes.
Status add_routing(const Routing& wanted);
// All of ours but `wanted`.
Status trim_routing(const Routing& wanted = {});
// What another program made of it for the same purpose becomes ours, without a gap (takeover.h).
Status adopt(const RoutingItem& item);

}  // namespace hawser::netfilter
