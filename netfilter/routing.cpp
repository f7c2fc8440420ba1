// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/routing.h"

#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cstdio>

#include "netfilter/rtnetlink.h"

namespace hawser::netfilter {
namespace {

using Kind = RoutingItem::Kind;

PolicyRule rule_of(const RoutingItem& item) {
  return {item.family, kRoutingPriority, item.mark, item.mask, item.table, kRoutingProtocol};
}

TableRoute route_of(const RoutingItem& item) {
  TableRoute out;
  out.family = item.family;
  out.table = item.table;
  out.protocol = kRoutingProtocol;
  out.type = RTN_LOCAL;
  out.interface = ::if_nametoindex("lo");
  return out;
}

HostAddress passthrough6() {
  return {parse_cidr("::6").value(), kAddressMetric};
}

bool is_ours(const PolicyRule& rule) {
  return rule.protocol == kRoutingProtocol;
}
bool is_ours(const TableRoute& route) {
  return route.protocol == kRoutingProtocol;
}
bool is_ours(const HostAddress& address) {
  return address.metric == kAddressMetric && address.address == passthrough6().address;
}

Error taken(const std::string& what) {
  return {Code::kFailedPrecondition, "HWS-NF-053", what + " was made by another program",
          "remove it if nothing needs it, or intercept inbound by redirect instead of tproxy"};
}

// Whoever uses our very mark means something else by it; and a wider mask in front of ours would take our packets away.
bool in_the_way(const PolicyRule& rule, const RoutingItem& item) {
  if (is_ours(rule)) return false;
  if (rule.table == item.table) return true;
  if (rule.mask == 0 || ((rule.mark ^ item.mark) & rule.mask & item.mask) != 0) return false;
  return rule.mask == item.mask || rule.priority <= kRoutingPriority;
}

Status check_free(const Routing& wanted) {
  for (const RoutingItem& item : wanted) {
    if (item.kind == Kind::kRule) {
      const auto rules = observe_policy_rules(item.family);
      if (!rules) return rules.error();
      for (const PolicyRule& rule : *rules)
        if (in_the_way(rule, item)) return taken(to_string(rule));
    }
    if (item.kind == Kind::kRoute) {
      const auto routes = observe_routes(item.family, {.table = item.table});
      if (!routes) return routes.error();
      for (const TableRoute& route : *routes)
        if (!is_ours(route)) return taken("a route in table " + std::to_string(item.table));
    }
  }
  return {};
}

Status add_item(const RoutingItem& item) {
  if (item.kind == Kind::kRule) return add(rule_of(item));
  if (item.kind == Kind::kRoute) return add(route_of(item));
  return add_lo6(passthrough6());
}

Status remove_item(const RoutingItem& item) {
  if (item.kind == Kind::kRule) return remove(rule_of(item));
  if (item.kind == Kind::kRoute) return remove(route_of(item));
  return remove_lo6(passthrough6());
}

}  // namespace

Routing routing_of(const Plan& plan) {
  Routing out;
  if (plan.inbound && plan.ipv6) out.insert({Kind::kAddress, Family::kIpv6});
  if (!plan.tproxy) return out;
  for (const Family family : kFamilies) {
    if (!(family == Family::kIpv4 ? plan.ipv4 : plan.ipv6)) continue;
    out.insert({Kind::kRule, family, plan.tproxy->table, plan.tproxy->mark, plan.tproxy->mask});
    out.insert({Kind::kRoute, family, plan.tproxy->table});
  }
  return out;
}

Result<Routing> observe_routing() {
  Routing out;
  for (const Family family : kFamilies) {
    const auto rules = observe_policy_rules(family);
    if (!rules) return rules.error();
    for (const PolicyRule& rule : *rules)
      if (is_ours(rule)) out.insert({Kind::kRule, family, rule.table, rule.mark, rule.mask});
    const auto routes = observe_routes(family, {.protocol = kRoutingProtocol});
    if (!routes) return routes.error();
    for (const TableRoute& route : *routes) out.insert({Kind::kRoute, family, route.table});
  }
  const auto addresses = observe_lo6();
  if (!addresses) return addresses.error();
  if (std::any_of(addresses->begin(), addresses->end(), [](const HostAddress& one) { return is_ours(one); }))
    out.insert({Kind::kAddress, Family::kIpv6});
  return out;
}

std::string to_string(const Routing& routing) {
  std::string out;
  for (const RoutingItem& item : routing) {
    if (item.kind == Kind::kRule) out += to_string(rule_of(item)) + "\n";
    const std::string family = item.family == Family::kIpv6 ? "IPv6" : "IPv4";
    if (item.kind == Kind::kRoute)
      out += "ip route (" + family + "): local default dev lo table " + std::to_string(item.table) + "\n";
    if (item.kind == Kind::kAddress) out += "ip address: ::6/128 dev lo\n";
  }
  return out;
}

Status add_routing(const Routing& wanted) {
  if (wanted.empty()) return {};
  if (auto free = check_free(wanted); !free) return free;
  const auto there = observe_routing();
  if (!there) return there.error();
  Routing added;
  // Routes come before the rules that lead to them.
  for (const Kind kind : {Kind::kAddress, Kind::kRoute, Kind::kRule}) {
    for (const RoutingItem& item : wanted) {
      if (item.kind != kind || there->count(item) != 0) continue;
      if (auto done = add_item(item); !done) {
        for (const RoutingItem& one : added) (void)remove_item(one);
        return done;
      }
      added.insert(item);
    }
  }
  return {};
}

Status adopt(const RoutingItem& item) {
  if (item.kind == Kind::kRule) return add(rule_of(item));  // next to theirs
  if (item.kind == Kind::kRoute) return replace(route_of(item));
  return replace_lo6(passthrough6());
}

Status trim_routing(const Routing& wanted) {
  const auto there = observe_routing();
  if (!there) return there.error();
  Status out;
  // In the order of Kind: rules go before what they lead to. All are tried, whatever comes of the first.
  for (const RoutingItem& item : *there)
    if (wanted.count(item) == 0)
      if (auto removed = remove_item(item); !removed) out = removed;
  return out;
}

}  // namespace hawser::netfilter
