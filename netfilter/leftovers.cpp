// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/leftovers.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "netfilter/legacy_chains.h"
#include "netfilter/plan.h"
#include "netfilter/routing.h"
#include "netfilter/rtnetlink.h"

namespace hawser::netfilter {
namespace {

constexpr std::string_view kTablePrefix = "hawser";
constexpr std::string_view kChainPrefix = "HAWSER";
constexpr int kMaxDatagrams = 100'000;

struct CloseSocket {
  void operator()(mnl_socket* socket) const { ::mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, CloseSocket>;
using Each = std::function<void(const nlmsghdr*)>;

// One request under construction.
struct Query {
  alignas(nlmsghdr) std::array<char, 512> buffer{};
  nlmsghdr* header = nullptr;

  explicit Query(int type) : header(::mnl_nlmsg_put_header(buffer.data())) {
    header->nlmsg_type = static_cast<std::uint16_t>(type);
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  }
  template <typename T>
  T* body() {
    return static_cast<T*>(::mnl_nlmsg_put_extra_header(header, sizeof(T)));
  }
};

int on_message(const nlmsghdr* header, void* data) {
  (*static_cast<const Each*>(data))(header);
  return MNL_CB_OK;
}

// 0, or an errno.
int dump(int bus, const Query& query, const Each& each) {
  Socket socket(::mnl_socket_open2(bus, SOCK_CLOEXEC));
  if (!socket || ::mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return errno;
  const timeval patience{1, 0};
  (void)::setsockopt(::mnl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::mnl_socket_sendto(socket.get(), query.header, query.header->nlmsg_len) < 0) return errno;
  alignas(nlmsghdr) std::array<char, 32768> buffer{};
  for (int i = 0; i < kMaxDatagrams; ++i) {
    const ssize_t n = ::mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    if (n < 0) return errno;
    const int rc = ::mnl_cb_run(buffer.data(), static_cast<std::size_t>(n), 0, 0, on_message,
                                const_cast<void*>(static_cast<const void*>(&each)));
    if (rc < 0) return errno;
    if (rc == MNL_CB_STOP) return 0;
  }
  return EOVERFLOW;
}

using Attribute = std::function<void(const nlattr*)>;

int on_attribute(const nlattr* attribute, void* data) {
  (*static_cast<const Attribute*>(data))(attribute);
  return MNL_CB_OK;
}

void each_attribute(const nlmsghdr* header, std::size_t body, const Attribute& each) {
  (void)::mnl_attr_parse(header, static_cast<unsigned>(body), on_attribute,
                         const_cast<void*>(static_cast<const void*>(&each)));
}

std::string text_of(const nlmsghdr* header, std::size_t body, int wanted) {
  std::string out;
  each_attribute(header, body, [&](const nlattr* attribute) {
    if (::mnl_attr_get_type(attribute) != wanted) return;
    const std::string all(static_cast<const char*>(::mnl_attr_get_payload(attribute)),
                          ::mnl_attr_get_payload_len(attribute));
    out = all.substr(0, all.find('\0'));
  });
  return out;
}

bool absent(int err) {
  return err == EOPNOTSUPP || err == EPROTONOSUPPORT || err == EAFNOSUPPORT || err == EINVAL || err == ENOENT;
}

ProbeResult judge(std::string name, int err, const std::string& found) {
  if (absent(err)) return {std::move(name), true, "not in this kernel"};
  if (err != 0) return {std::move(name), false, std::string("can't be looked at: ") + std::strerror(err)};
  return {std::move(name), found.empty(), found.empty() ? "nothing" : found};
}

void add(std::string& found, const std::string& what) {
  found += (found.empty() ? "left: " : ", ") + what;
}

const char* family_text(Family family) {
  return family == Family::kIpv6 ? "IPv6" : "IPv4";
}

const char* family_name(int family) {
  return family == NFPROTO_INET ? "inet " : family == NFPROTO_IPV4 ? "ip " : family == NFPROTO_IPV6 ? "ip6 " : "";
}

int family_of(const nlmsghdr* header) {
  return static_cast<const nfgenmsg*>(::mnl_nlmsg_get_payload(header))->nfgen_family;
}

bool starts(const std::string& text, std::string_view prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// iptables-nft keeps its chains in nftables, where they are ours by their name.
ProbeResult nftables(bool chains) {
  Query query((NFNL_SUBSYS_NFTABLES << 8) | (chains ? NFT_MSG_GETCHAIN : NFT_MSG_GETTABLE));
  query.body<nfgenmsg>()->nfgen_family = AF_UNSPEC;
  std::string found;
  const int err = dump(NETLINK_NETFILTER, query, [&](const nlmsghdr* header) {
    const int name = chains ? static_cast<int>(NFTA_CHAIN_TABLE) : static_cast<int>(NFTA_TABLE_NAME);
    const std::string table = text_of(header, sizeof(nfgenmsg), name);
    const std::string chain = chains ? text_of(header, sizeof(nfgenmsg), NFTA_CHAIN_NAME) : std::string();
    if (chains ? starts(chain, kChainPrefix) : starts(table, kTablePrefix))
      add(found, family_name(family_of(header)) + table + (chains ? " " + chain : ""));
  });
  return judge(chains ? "iptables-nft chains" : "nftables tables", err, found);
}

ProbeResult legacy(bool v6) {
  std::string found;
  int err = 0;
  for (const std::string& table : legacy_tables(v6)) {
    const auto ours = legacy_chains(v6, table, kChainPrefix);
    if (!ours) err = ours.error();
    if (ours && *ours) add(found, "chains in " + table);
  }
  return judge(v6 ? "ip6tables-legacy" : "iptables-legacy", err, found);
}

ProbeResult failed(std::string name, const Error& error) {
  return {std::move(name), false, "can't be looked at: " + error.message()};
}

// Ours by their protocol number and metric (rtnetlink.h): another mesh may use the same table.
ProbeResult rules(Family family) {
  std::string name = std::string(family_text(family)) + " policy rules";
  const auto found = observe_policy_rules(family);
  if (!found) return failed(std::move(name), found.error());
  std::string left;
  for (const auto& rule : *found)
    if (rule.protocol == kRoutingProtocol) add(left, to_string(rule));
  return judge(std::move(name), 0, left);
}

ProbeResult routes(Family family) {
  std::string name = std::string(family_text(family)) + " routes";
  const auto found = observe_routes(family, {.protocol = kRoutingProtocol});
  if (!found) return failed(std::move(name), found.error());
  std::string left;
  for (const auto& route : *found)
    if (route.protocol == kRoutingProtocol) add(left, "a route in table " + std::to_string(route.table));
  return judge(std::move(name), 0, left);
}

ProbeResult address() {
  const auto found = observe_lo6();
  if (!found) return failed("address ::6", found.error());
  std::string left;
  for (const auto& each : *found)
    if (each.metric == kAddressMetric) add(left, each.address.text());
  return judge("address ::6", 0, left);
}

ProbeResult interfaces() {
  std::string found;
  for (const char* name : {kProbeInterface, kProbeInjector})
    if (::if_nametoindex(name) != 0) add(found, name);
  return judge("probe interfaces", 0, found);
}

}  // namespace

std::vector<ProbeResult> observe_leftovers() {
  return {nftables(false),      nftables(true),        legacy(false),         legacy(true), rules(Family::kIpv4),
          rules(Family::kIpv6), routes(Family::kIpv4), routes(Family::kIpv6), address(),    interfaces()};
}

}  // namespace hawser::netfilter
