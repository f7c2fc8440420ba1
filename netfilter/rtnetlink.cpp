// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/rtnetlink.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "netfilter/netlink.h"

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxItems = 65536;  // of a host with the whole Internet's routes only our table is of interest

Error failed(int error, const std::string& what) {
  return errno_error(error, "HWS-NF-052", what, "CAP_NET_ADMIN, and a kernel with policy routing, are needed");
}

std::uint8_t af(Family family) {
  return family == Family::kIpv6 ? AF_INET6 : AF_INET;
}

// A larger one fits into the attribute alone.
std::uint8_t table_number(std::uint32_t table) {
  return table < 256 ? static_cast<std::uint8_t>(table) : std::uint8_t{RT_TABLE_UNSPEC};
}

// 0, or an errno.
int talk(NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& consider = {}) {
  return ask_kernel(NETLINK_ROUTE, request, consider);
}

template <typename Body, typename Work>
void attributes(const nlmsghdr* header, Work work) {
  each_attribute(header, sizeof(Body),
                 [&](const nlattr* attribute) { work(::mnl_attr_get_type(attribute), attribute); });
}

std::uint32_t u32(const nlattr* attribute) {
  return ::mnl_attr_get_payload_len(attribute) >= 4 ? ::mnl_attr_get_u32(attribute) : 0;
}

PolicyRule rule_in(const nlmsghdr* header) {
  const auto* body = static_cast<const fib_rule_hdr*>(::mnl_nlmsg_get_payload(header));
  PolicyRule rule;
  rule.family = body->family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  rule.table = body->table;
  attributes<fib_rule_hdr>(header, [&](std::uint16_t type, const nlattr* attribute) {
    if (type == FRA_PRIORITY) rule.priority = u32(attribute);
    if (type == FRA_FWMARK) rule.mark = u32(attribute);
    if (type == FRA_FWMASK) rule.mask = u32(attribute);
    if (type == FRA_TABLE) rule.table = u32(attribute);
    if (type == FRA_PROTOCOL) rule.protocol = ::mnl_attr_get_u8(attribute);
  });
  return rule;
}

TableRoute route_in(const nlmsghdr* header) {
  const auto* body = static_cast<const rtmsg*>(::mnl_nlmsg_get_payload(header));
  TableRoute route;
  route.family = body->rtm_family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  route.table = body->rtm_table;
  route.protocol = body->rtm_protocol;
  route.type = body->rtm_type;
  route.prefix = body->rtm_dst_len;
  attributes<rtmsg>(header, [&](std::uint16_t type, const nlattr* attribute) {
    if (type == RTA_TABLE) route.table = u32(attribute);
    if (type == RTA_OIF) route.interface = u32(attribute);
    if (type == RTA_PRIORITY) route.metric = u32(attribute);
    if (type == RTA_DST)
      std::copy_n(static_cast<const std::uint8_t*>(::mnl_attr_get_payload(attribute)),
                  std::min<std::size_t>(::mnl_attr_get_payload_len(attribute), 16), route.destination.begin());
  });
  return route;
}

// Kernels before 4.20 don't filter.
bool passes(const TableRoute& route, const RouteFilter& filter) {
  return (filter.table == 0 || route.table == filter.table) &&
         (filter.protocol == 0 || route.protocol == filter.protocol);
}

std::optional<HostAddress> address_on_lo(const nlmsghdr* header) {
  const auto* body = static_cast<const ifaddrmsg*>(::mnl_nlmsg_get_payload(header));
  if (body->ifa_index != ::if_nametoindex("lo") || body->ifa_family != AF_INET6) return std::nullopt;
  HostAddress found;
  found.address.family = Family::kIpv6;
  found.address.prefix = body->ifa_prefixlen;
  attributes<ifaddrmsg>(header, [&](std::uint16_t type, const nlattr* attribute) {
    if (type == IFA_RT_PRIORITY) found.metric = u32(attribute);
    if (type == IFA_ADDRESS && ::mnl_attr_get_payload_len(attribute) == 16)
      std::copy_n(static_cast<const std::uint8_t*>(::mnl_attr_get_payload(attribute)), 16, found.address.bytes.begin());
  });
  return found;
}

// A kernel without a family has nothing of it.
bool none_of_it(int error) {
  return error == EAFNOSUPPORT || error == EOPNOTSUPP;
}

int change(std::uint16_t type, std::uint16_t flags, const PolicyRule& rule) {
  NetlinkRequest message(type, static_cast<std::uint16_t>(NLM_F_ACK | flags));
  auto* body = message.body<fib_rule_hdr>();
  body->family = af(rule.family);
  body->action = FR_ACT_TO_TBL;
  body->table = table_number(rule.table);
  ::mnl_attr_put_u32(message.header(), FRA_TABLE, rule.table);
  ::mnl_attr_put_u32(message.header(), FRA_PRIORITY, rule.priority);
  ::mnl_attr_put_u32(message.header(), FRA_FWMARK, rule.mark);
  ::mnl_attr_put_u32(message.header(), FRA_FWMASK, rule.mask);
  if (rule.protocol != 0) ::mnl_attr_put_u8(message.header(), FRA_PROTOCOL, rule.protocol);
  return talk(message);
}

int change(std::uint16_t type, std::uint16_t flags, const TableRoute& route) {
  NetlinkRequest message(type, static_cast<std::uint16_t>(NLM_F_ACK | flags));
  auto* body = message.body<rtmsg>();
  body->rtm_family = af(route.family);
  body->rtm_dst_len = route.prefix;
  body->rtm_table = table_number(route.table);
  body->rtm_protocol = route.protocol;
  body->rtm_type = route.type;
  body->rtm_scope = route.type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_NOWHERE;
  ::mnl_attr_put_u32(message.header(), RTA_TABLE, route.table);
  if (route.interface != 0) ::mnl_attr_put_u32(message.header(), RTA_OIF, route.interface);
  if (route.metric != 0) ::mnl_attr_put_u32(message.header(), RTA_PRIORITY, route.metric);
  if (route.prefix != 0)
    ::mnl_attr_put(message.header(), RTA_DST, route.family == Family::kIpv6 ? 16 : 4, route.destination.data());
  return talk(message);
}

int change(std::uint16_t type, std::uint16_t flags, const HostAddress& address) {
  NetlinkRequest message(type, static_cast<std::uint16_t>(NLM_F_ACK | flags));
  auto* body = message.body<ifaddrmsg>();
  body->ifa_family = AF_INET6;
  body->ifa_prefixlen = static_cast<std::uint8_t>(address.address.prefix);
  body->ifa_index = ::if_nametoindex("lo");
  body->ifa_flags = IFA_F_NODAD;
  ::mnl_attr_put(message.header(), IFA_LOCAL, 16, address.address.bytes.data());
  ::mnl_attr_put(message.header(), IFA_ADDRESS, 16, address.address.bytes.data());
  if (address.metric != 0) ::mnl_attr_put_u32(message.header(), IFA_RT_PRIORITY, address.metric);
  return talk(message);
}

Status done(int error, std::initializer_list<int> fine, const std::string& what) {
  if (error == 0 || std::find(fine.begin(), fine.end(), error) != fine.end()) return {};
  return failed(error, what);
}

constexpr std::uint16_t kInstead = NLM_F_CREATE | NLM_F_REPLACE;
constexpr std::uint16_t kNew = NLM_F_CREATE | NLM_F_EXCL;

}  // namespace

std::string to_string(const PolicyRule& rule) {
  char text[96];
  std::snprintf(text, sizeof text, "ip rule %u (IPv%d): mark 0x%x/0x%x, table %u", rule.priority,
                rule.family == Family::kIpv6 ? 6 : 4, rule.mark, rule.mask, rule.table);
  return text;
}

Result<std::vector<PolicyRule>> observe_policy_rules(Family family) {
  std::vector<PolicyRule> out;
  NetlinkRequest message(RTM_GETRULE, NLM_F_DUMP);
  message.body<fib_rule_hdr>()->family = af(family);
  const int error = talk(message, [&out](const nlmsghdr* header) {
    if (out.size() < kMaxItems) out.push_back(rule_in(header));
  });
  if (error != 0 && !none_of_it(error)) return failed(error, "ip rules can't be listed");
  return out;
}

Result<std::vector<TableRoute>> observe_routes(Family family, RouteFilter filter) {
  std::vector<TableRoute> out;
  NetlinkRequest message(RTM_GETROUTE, NLM_F_DUMP);
  auto* body = message.body<rtmsg>();
  body->rtm_family = af(family);
  body->rtm_protocol = filter.protocol;
  body->rtm_table = table_number(filter.table);
  if (filter.table > 255) ::mnl_attr_put_u32(message.header(), RTA_TABLE, filter.table);
  const int error = talk(message, [&](const nlmsghdr* header) {
    const TableRoute route = route_in(header);
    if (out.size() < kMaxItems && passes(route, filter)) out.push_back(route);
  });
  if (error == ENOENT) return std::vector<TableRoute>();  // there is no such table
  if (error != 0 && !none_of_it(error)) return failed(error, "routes can't be listed");
  return out;
}

Result<std::vector<HostAddress>> observe_lo6() {
  std::vector<HostAddress> out;
  NetlinkRequest message(RTM_GETADDR, NLM_F_DUMP);
  message.body<ifaddrmsg>()->ifa_family = AF_INET6;
  const int error = talk(message, [&out](const nlmsghdr* header) {
    if (const auto found = address_on_lo(header); found && out.size() < kMaxItems) out.push_back(*found);
  });
  if (error != 0 && !none_of_it(error)) return failed(error, "addresses can't be listed");
  return out;
}

Status add(const PolicyRule& rule) {
  return done(change(RTM_NEWRULE, kNew, rule), {EEXIST}, to_string(rule) + " can't be added");
}
Status remove(const PolicyRule& rule) {
  return done(change(RTM_DELRULE, 0, rule), {ENOENT, EAFNOSUPPORT}, to_string(rule) + " can't be removed");
}
Status add(const TableRoute& route) {
  return done(change(RTM_NEWROUTE, kNew, route), {EEXIST},
              "a route in table " + std::to_string(route.table) + " can't be added");
}
Status remove(const TableRoute& route) {
  return done(change(RTM_DELROUTE, 0, route), {ESRCH, ENOENT, EAFNOSUPPORT},
              "a route in table " + std::to_string(route.table) + " can't be removed");
}
Status add_lo6(const HostAddress& address) {
  return done(change(RTM_NEWADDR, kNew, address), {EEXIST}, address.address.text() + " can't be added to lo");
}
Status replace(const TableRoute& route) {
  return done(change(RTM_NEWROUTE, kInstead, route), {},
              "the route in table " + std::to_string(route.table) + " can't be replaced");
}
Status replace_lo6(const HostAddress& address) {
  return done(change(RTM_NEWADDR, kInstead, address), {}, address.address.text() + " on lo can't be replaced");
}
Status remove_lo6(const HostAddress& address) {
  return done(change(RTM_DELADDR, 0, address), {EADDRNOTAVAIL, ENOENT},
              address.address.text() + " can't be removed from lo");
}

}  // namespace hawser::netfilter
