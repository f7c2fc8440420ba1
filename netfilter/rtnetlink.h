// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "netfilter/address.h"

// What: policy rules (`ip rule`), routes of one table, and addresses of lo, as rtnetlink(7) has them: as much of them
// as interception needs. Threading: blocking; each answer of the kernel is waited for at most two seconds. Failure:
// HWS-NF-052. Facts: linux/fib_rules.h, rtnetlink.h, if_addr.h.
namespace hawser::netfilter {

// Whoever made a rule or a route, as `ip` shows it after "proto": 147 is ours, and nobody's in iproute2's rt_protos.
inline constexpr std::uint8_t kRoutingProtocol = 147;
// Addresses have no such field on kernels before 5.18, but IPv6 ones have a metric.
inline constexpr std::uint32_t kAddressMetric = 147133;

struct PolicyRule {
  Family family = Family::kIpv4;
  std::uint32_t priority = 0;
  std::uint32_t mark = 0;
  std::uint32_t mask = 0;  // 0: it asks for no mark
  std::uint32_t table = 0;
  std::uint8_t protocol = 0;
};
// "ip rule 32765 (IPv4): mark 0x539, table 133".
std::string to_string(const PolicyRule& rule);

struct TableRoute {
  Family family = Family::kIpv4;
  std::uint32_t table = 0;
  std::uint8_t protocol = 0;
  std::uint8_t type = 0;    // RTN_…
  std::uint8_t prefix = 0;  // length of the destination
  std::array<std::uint8_t, 16> destination{};
  std::uint32_t interface = 0;  // index
  std::uint32_t metric = 0;
};

struct HostAddress {
  Cidr address;
  std::uint32_t metric = 0;
};

Result<std::vector<PolicyRule>> observe_policy_rules(Family family);
struct RouteFilter {
  std::uint32_t table = 0;    // 0: all
  std::uint8_t protocol = 0;  // 0: any
};
Result<std::vector<TableRoute>> observe_routes(Family family, RouteFilter filter);
// Of lo, IPv6.
Result<std::vector<HostAddress>> observe_lo6();

// What is there already, or isn't any more, is fine.
Status add(const PolicyRule& rule);
Status remove(const PolicyRule& rule);
Status add(const TableRoute& route);
Status remove(const TableRoute& route);
Status add_lo6(const HostAddress& address);
// Instead of one that differs in who made it.
Status replace(const TableRoute& route);
Status replace_lo6(const HostAddress& address);
Status remove_lo6(const HostAddress& address);

}  // namespace hawser::netfilter
