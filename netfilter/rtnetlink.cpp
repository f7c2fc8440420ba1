// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/rtnetlink.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

namespace hawser::netfilter {
namespace {

constexpr timeval kPatience{2, 0};
constexpr std::size_t kMaxItems = 65536;  // of a host with the whole Internet's routes only our table is of interest
constexpr std::size_t kMaxReads = 65536;

struct CloseSocket {
  void operator()(mnl_socket* socket) const { ::mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, CloseSocket>;

Error failed(int error, const std::string& what) {
  return errno_error(error, "HWS-NF-052", what, "CAP_NET_ADMIN, and a kernel with policy routing, are needed");
}

Socket open_socket() {
  Socket socket(::mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC));
  if (socket && ::mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return {};
  if (socket)
    (void)::setsockopt(::mnl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  int filtered = 1;
  if (socket) (void)::mnl_socket_setsockopt(socket.get(), NETLINK_GET_STRICT_CHK, &filtered, sizeof filtered);
  return socket;
}

std::uint8_t af(Family family) {
  return family == Family::kIpv6 ? AF_INET6 : AF_INET;
}

// A larger one fits into the attribute alone.
std::uint8_t table_number(std::uint32_t table) {
  return table < 256 ? static_cast<std::uint8_t>(table) : std::uint8_t{RT_TABLE_UNSPEC};
}

class Message {
 public:
  Message(std::uint16_t type, std::uint16_t flags) {
    header_ = ::mnl_nlmsg_put_header(buffer_);
    header_->nlmsg_type = type;
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    header_->nlmsg_seq = 1;
  }
  nlmsghdr* header() { return header_; }
  template <typename T>
  T* body() {
    return static_cast<T*>(::mnl_nlmsg_put_extra_header(header_, sizeof(T)));
  }

 private:
  alignas(nlmsghdr) char buffer_[512] = {};
  nlmsghdr* header_ = nullptr;
};

// 0, or an errno.
int talk(Message& message, mnl_cb_t consider = nullptr, void* data = nullptr) {
  const Socket socket = open_socket();
  if (!socket) return errno;
  if (::mnl_socket_sendto(socket.get(), message.header(), message.header()->nlmsg_len) < 0) return errno;
  std::vector<char> answer(32768);
  for (std::size_t i = 0; i < kMaxReads; ++i) {
    const ssize_t n = ::mnl_socket_recvfrom(socket.get(), answer.data(), answer.size());
    if (n < 0) return errno;
    const int rc = ::mnl_cb_run(answer.data(), static_cast<std::size_t>(n), 1, ::mnl_socket_get_portid(socket.get()),
                                consider, data);
    if (rc < 0) return errno;
    if (rc == MNL_CB_STOP) return 0;
  }
  return E2BIG;
}

template <typename Body, typename Work>
void attributes(const nlmsghdr* header, Work work) {
  const auto each = [](const nlattr* attribute, void* data) {
    (*static_cast<Work*>(data))(::mnl_attr_get_type(attribute), attribute);
    return MNL_CB_OK;
  };
  (void)::mnl_attr_parse(header, sizeof(Body), each, &work);
}

std::uint32_t u32(const nlattr* attribute) {
  return ::mnl_attr_get_payload_len(attribute) >= 4 ? ::mnl_attr_get_u32(attribute) : 0;
}

int consider_rule(const nlmsghdr* header, void* data) {
  auto& out = *static_cast<std::vector<PolicyRule>*>(data);
  if (out.size() >= kMaxItems) return MNL_CB_OK;
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
  out.push_back(rule);
  return MNL_CB_OK;
}

struct RouteSearch {
  RouteFilter filter;
  std::vector<TableRoute> found;
};

int consider_route(const nlmsghdr* header, void* data) {
  auto& search = *static_cast<RouteSearch*>(data);
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
  // Kernels before 4.20 don't filter.
  if (search.filter.table != 0 && route.table != search.filter.table) return MNL_CB_OK;
  if (search.filter.protocol != 0 && route.protocol != search.filter.protocol) return MNL_CB_OK;
  if (search.found.size() < kMaxItems) search.found.push_back(route);
  return MNL_CB_OK;
}

int consider_address(const nlmsghdr* header, void* data) {
  auto& out = *static_cast<std::vector<HostAddress>*>(data);
  const auto* body = static_cast<const ifaddrmsg*>(::mnl_nlmsg_get_payload(header));
  if (body->ifa_index != ::if_nametoindex("lo") || body->ifa_family != AF_INET6) return MNL_CB_OK;
  HostAddress found;
  found.address.family = Family::kIpv6;
  found.address.prefix = body->ifa_prefixlen;
  attributes<ifaddrmsg>(header, [&](std::uint16_t type, const nlattr* attribute) {
    if (type == IFA_RT_PRIORITY) found.metric = u32(attribute);
    if (type == IFA_ADDRESS && ::mnl_attr_get_payload_len(attribute) == 16)
      std::copy_n(static_cast<const std::uint8_t*>(::mnl_attr_get_payload(attribute)), 16, found.address.bytes.begin());
  });
  if (out.size() < kMaxItems) out.push_back(found);
  return MNL_CB_OK;
}

// A kernel without a family has nothing of it.
bool none_of_it(int error) {
  return error == EAFNOSUPPORT || error == EOPNOTSUPP;
}

int change(std::uint16_t type, std::uint16_t flags, const PolicyRule& rule) {
  Message message(type, static_cast<std::uint16_t>(NLM_F_ACK | flags));
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
  Message message(type, static_cast<std::uint16_t>(NLM_F_ACK | flags));
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
  Message message(type, static_cast<std::uint16_t>(NLM_F_ACK | flags));
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
  Message message(RTM_GETRULE, NLM_F_DUMP);
  message.body<fib_rule_hdr>()->family = af(family);
  const int error = talk(message, consider_rule, &out);
  if (error != 0 && !none_of_it(error)) return failed(error, "ip rules can't be listed");
  return out;
}

Result<std::vector<TableRoute>> observe_routes(Family family, RouteFilter filter) {
  RouteSearch search;
  search.filter = filter;
  Message message(RTM_GETROUTE, NLM_F_DUMP);
  auto* body = message.body<rtmsg>();
  body->rtm_family = af(family);
  body->rtm_protocol = filter.protocol;
  body->rtm_table = table_number(filter.table);
  if (filter.table > 255) ::mnl_attr_put_u32(message.header(), RTA_TABLE, filter.table);
  const int error = talk(message, consider_route, &search);
  if (error == ENOENT) return std::vector<TableRoute>();  // there is no such table
  if (error != 0 && !none_of_it(error)) return failed(error, "routes can't be listed");
  return std::move(search.found);
}

Result<std::vector<HostAddress>> observe_lo6() {
  std::vector<HostAddress> out;
  Message message(RTM_GETADDR, NLM_F_DUMP);
  message.body<ifaddrmsg>()->ifa_family = AF_INET6;
  const int error = talk(message, consider_address, &out);
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
