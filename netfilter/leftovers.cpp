// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/leftovers.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "netfilter/emit_nft.h"
#include "netfilter/iptc_table.h"
#include "netfilter/netlink.h"
#include "netfilter/plan.h"
#include "netfilter/routing.h"
#include "netfilter/rtnetlink.h"

namespace hawser::netfilter {
namespace {

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

// iptables-nft keeps its chains in nftables, where they are ours by their name.
ProbeResult nftables(bool chains) {
  NetlinkRequest request((NFNL_SUBSYS_NFTABLES << 8) | (chains ? NFT_MSG_GETCHAIN : NFT_MSG_GETTABLE), NLM_F_DUMP);
  request.body<nfgenmsg>()->nfgen_family = AF_UNSPEC;
  std::string found;
  const int err = ask_kernel(NETLINK_NETFILTER, request, [&](const nlmsghdr* header) {
    const int name = chains ? static_cast<int>(NFTA_CHAIN_TABLE) : static_cast<int>(NFTA_TABLE_NAME);
    const std::string table = text_of(header, sizeof(nfgenmsg), name);
    const std::string chain = chains ? text_of(header, sizeof(nfgenmsg), NFTA_CHAIN_NAME) : std::string();
    if (chains ? chain.starts_with(kXtPrefix) : table.starts_with(kTable))
      add(found, family_name(family_of(header)) + table + (chains ? " " + chain : ""));
  });
  return judge(chains ? "iptables-nft chains" : "nftables tables", err, found);
}

ProbeResult failed(std::string name, const Error& error) {
  return {std::move(name), false, "can't be looked at: " + error.message()};
}

ProbeResult legacy(Family family) {
  std::string name = family == Family::kIpv6 ? "ip6tables-legacy" : "iptables-legacy";
  std::string found;
  for (const XtTable table : kXtTables) {
    const auto chains = legacy_chains(family, table);
    if (!chains) return failed(std::move(name), chains.error());
    for (const std::string& chain : *chains)
      if (chain.starts_with(kXtPrefix)) add(found, chain + " in " + to_string(table));
  }
  return judge(std::move(name), 0, found);
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
  return {nftables(false),       nftables(true),        legacy(Family::kIpv4),
          legacy(Family::kIpv6), rules(Family::kIpv4),  rules(Family::kIpv6),
          routes(Family::kIpv4), routes(Family::kIpv6), address(),
          interfaces()};
}

}  // namespace hawser::netfilter
