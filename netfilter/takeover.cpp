// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/takeover.h"

#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_MARK.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <linux/rtnetlink.h>
#include <nftables/libnftables.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>

#include "base/log.h"
#include "netfilter/iptc_table.h"
#include "netfilter/nft_socket.h"
#include "netfilter/routing.h"
#include "netfilter/rtnetlink.h"
#include "netfilter/xtables_lock.h"

namespace hawser::netfilter {
namespace {

constexpr std::uint32_t kWhole = 0xffffffff;
constexpr std::uint32_t kIstioTable = 133;
constexpr std::chrono::milliseconds kLockWait{5000};

Error unreadable(const std::string& what) {
  return {Code::kInternal, "HWS-NF-055", "another mesh's rules can't be removed: " + what,
          "remove them with that mesh's own tool, then apply again"};
}

struct FreeContext {
  void operator()(nft_ctx* context) const { ::nft_ctx_free(context); }
};
using Context = std::unique_ptr<nft_ctx, FreeContext>;

// Without nf_tables there is nothing in it.
Result<std::string> run_nft(const std::string& commands) {
  if (!nftables_answer()) return std::string();
  const Context context(::nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context || ::nft_ctx_buffer_output(context.get()) != 0 || ::nft_ctx_buffer_error(context.get()) != 0)
    return std::string();
  ::nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_HANDLE | NFT_CTX_OUTPUT_TERSE);
  const int rc = ::nft_run_cmd_from_buffer(context.get(), commands.c_str());
  const char* output = ::nft_ctx_get_output_buffer(context.get());
  const char* error = ::nft_ctx_get_error_buffer(context.get());
  if (rc != 0) return unreadable(error == nullptr ? "nftables" : std::string(error, std::strcspn(error, "\n")));
  return std::string(output == nullptr ? "" : output);
}

std::vector<std::string> theirs_of(const std::vector<std::string>& chains) {
  std::vector<std::string> out;
  for (const std::string& name : chains)
    if (mesh_of_chain(name) != nullptr) out.push_back(name);
  return out;
}

// Each match of an entry, until `test` holds for one.
template <typename Entry, typename Test>
bool any_match(const unsigned char* bytes, Test test) {
  const auto* entry = reinterpret_cast<const Entry*>(bytes);
  for (std::size_t at = sizeof(Entry); at + sizeof(xt_entry_match) <= entry->target_offset;) {
    const auto* match = reinterpret_cast<const xt_entry_match*>(bytes + at);
    if (test(*match)) return true;
    if (match->u.match_size < sizeof(xt_entry_match)) return false;
    at += match->u.match_size;
  }
  return false;
}

template <typename Entry>
bool has_istio_mark(const unsigned char* bytes) {
  const auto* entry = reinterpret_cast<const Entry*>(bytes);
  const auto* target = reinterpret_cast<const xt_entry_target*>(bytes + entry->target_offset);
  if (std::strcmp(target->u.user.name, "MARK") == 0 && target->u.user.revision == 2) {
    const auto* info = reinterpret_cast<const xt_mark_tginfo2*>(target->data);
    if (info->mark == kIstioSelfCallMark && info->mask == kWhole) return true;
  }
  return any_match<Entry>(bytes, [](const xt_entry_match& match) {
    if (match.u.user.revision != 1) return false;
    if (std::strcmp(match.u.user.name, "mark") == 0) {
      const auto* info = reinterpret_cast<const xt_mark_mtinfo1*>(match.data);
      return info->mark == kIstioMark && info->mask == kWhole && info->invert == 0;
    }
    if (std::strcmp(match.u.user.name, "connmark") != 0) return false;
    const auto* info = reinterpret_cast<const xt_connmark_mtinfo1*>(match.data);
    return info->mark == kIstioMark && info->mask == kWhole && info->invert == 0;
  });
}

bool istio_marked(const IptcTable::Entry& entry) {
  return entry.family == Family::kIpv6 ? has_istio_mark<ip6t_entry>(entry.bytes)
                                       : has_istio_mark<ipt_entry>(entry.bytes);
}

bool all_zero(const void* bytes, std::size_t size) {
  const auto* begin = static_cast<const unsigned char*>(bytes);
  return std::all_of(begin, begin + size, [](unsigned char byte) { return byte == 0; });
}

// Of a rule that asks for an interface and for nothing else: its name.
template <typename Entry, typename Header>
std::string only_interface(const unsigned char* bytes, const Header& header, bool outgoing) {
  const auto* entry = reinterpret_cast<const Entry*>(bytes);
  if (entry->target_offset != sizeof(Entry) || header.proto != 0 || header.invflags != 0) return {};
  if (!all_zero(&header.smsk, sizeof header.smsk) || !all_zero(&header.dmsk, sizeof header.dmsk)) return {};
  const char* other = outgoing ? header.iniface : header.outiface;
  if (*other != '\0') return {};
  return outgoing ? header.outiface : header.iniface;
}

std::string excluded_interface(const IptcTable::Entry& entry) {
  if (entry.target != "RETURN" || (entry.chain != "PREROUTING" && entry.chain != "OUTPUT")) return {};
  const bool outgoing = entry.chain == "OUTPUT";
  if (entry.family == Family::kIpv6)
    return only_interface<ip6t_entry>(entry.bytes, reinterpret_cast<const ip6t_entry*>(entry.bytes)->ipv6, outgoing);
  return only_interface<ipt_entry>(entry.bytes, reinterpret_cast<const ipt_entry*>(entry.bytes)->ip, outgoing);
}

// Istio exempts an interface by the same bare rule in both chains of a table, as in foreign.cpp.
std::set<std::string> istio_interfaces(IptcTable& table) {
  std::map<std::string, std::set<std::string>> chains;
  table.each([&](const IptcTable::Entry& entry) {
    if (const std::string name = excluded_interface(entry); !name.empty()) chains[name].insert(entry.chain);
  });
  std::set<std::string> out;
  for (const auto& [name, both] : chains)
    if (both.size() == 2) out.insert(name);
  return out;
}

Result<std::vector<std::string>> their_chains(Family family, XtTable table) {
  const auto all = legacy_chains(family, table);
  if (!all) return all.error();
  return theirs_of(*all);
}

Status remove_from(Family family, XtTable which) {
  for (int attempt = 0; attempt < 3; ++attempt) {
    auto table = IptcTable::open(family, which);
    if (!table) return table.error();
    const auto names = theirs_of((*table)->chains());
    if (names.empty()) return {};
    const bool istio =
        std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.starts_with("ISTIO_"); });
    const bool marks = istio && which == XtTable::kMangle;
    const auto interfaces = istio ? istio_interfaces(**table) : std::set<std::string>();
    auto erased = (*table)->erase(names, [&](const IptcTable::Entry& entry) {
      return (marks && istio_marked(entry)) || interfaces.count(excluded_interface(entry)) != 0;
    });
    if (!erased) return erased;
    auto committed = (*table)->commit();
    if (committed || committed.error().code() != Code::kAborted) return committed;
  }
  return unreadable("another program changes legacy xtables at the same time");
}

Status remove_legacy() {
  std::vector<std::pair<Family, XtTable>> found;
  for (const Family family : kFamilies) {
    for (const XtTable table : kXtTables) {
      const auto names = their_chains(family, table);
      if (!names) return names.error();
      if (!names->empty()) found.emplace_back(family, table);
    }
  }
  if (found.empty()) return {};
  const auto lock = XtablesLock::take(xtables_lock_path(), kLockWait);
  if (!lock) return lock.error();
  for (const auto& [family, table] : found)
    if (auto removed = remove_from(family, table); !removed) return removed;
  return {};
}

Status remove_nft() {
  // Handles may have changed until the commands arrive; then the kernel refuses all of them.
  Status last;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto ruleset = run_nft("list ruleset");
    if (!ruleset) return ruleset.error();
    const std::string commands = emit_removal_of_foreign(*ruleset);
    if (commands.empty()) return {};
    const auto removed = run_nft(commands);
    if (removed) return {};
    last = removed.error();
  }
  return last;
}

// What istio-iptables makes for TPROXY (tools/istio-iptables, ConfigureRoutes): its mark, its table, one route.
bool is_istios(const PolicyRule& rule) {
  return rule.protocol != kRoutingProtocol && rule.table == kIstioTable && rule.mark == kIstioMark &&
         rule.mask == kWhole;
}
bool is_istios(const TableRoute& route) {
  return route.protocol != kRoutingProtocol && route.type == RTN_LOCAL && route.prefix == 0;
}

Status remove_rules_of_istio(Family family) {
  const auto rules = observe_policy_rules(family);
  if (!rules) return rules.error();
  for (const PolicyRule& rule : *rules)
    if (is_istios(rule))
      if (auto removed = remove(rule); !removed) return removed;
  return {};
}

Status remove_routes_of_istio(Family family) {
  const auto routes = observe_routes(family, {.table = kIstioTable});
  if (!routes) return routes.error();
  for (const TableRoute& route : *routes)
    if (is_istios(route))
      if (auto removed = remove(route); !removed) return removed;
  return {};
}

bool has_istios_routing(Family family) {
  const auto rules = observe_policy_rules(family);
  return rules && std::any_of(rules->begin(), rules->end(), [](const PolicyRule& rule) { return is_istios(rule); });
}

// Nothing but Istio has ::6; ours has our metric.
Status remove_passthrough_of_istio(const Plan& plan) {
  const RoutingItem item{RoutingItem::Kind::kAddress, Family::kIpv6};
  const Cidr address = parse_cidr("::6").value();
  const auto addresses = observe_lo6();
  if (!addresses) return addresses.error();
  for (const HostAddress& one : *addresses) {
    if (!(one.address == address) || one.metric == kAddressMetric) continue;
    return routing_of(plan).count(item) != 0 ? adopt(item) : remove_lo6(one);
  }
  return {};
}

}  // namespace

Result<std::vector<Foreign>> observe_foreign() {
  // Chains without their rules: a host may have very many of those.
  const auto chains = run_nft("list chains");
  if (!chains) return chains.error();
  auto out = find_foreign(*chains);
  for (const Family family : kFamilies) {
    for (const XtTable table : kXtTables) {
      const auto names = their_chains(family, table);
      if (!names) return names.error();
      const std::string where =
          std::string("legacy table ") + to_string(table) + (family == Family::kIpv6 ? " (IPv6)" : " (IPv4)");
      std::set<std::string> meshes;
      for (const std::string& name : *names) meshes.insert(mesh_of_chain(name));
      for (const std::string& mesh : meshes) out.push_back({mesh, where});
    }
  }
  return out;
}

Status check_foreign() {
  const auto found = observe_foreign();
  if (!found) return found.error();
  if (found->empty()) return {};
  return Error(Code::kFailedPrecondition, "HWS-NF-054", "another mesh intercepts on this host: " + to_string(*found),
               "remove it with its own tool, or replace its rules by ours: hawser intercept apply --takeover");
}

Status take_over_routing(const Plan& plan) {
  for (const RoutingItem& item : routing_of(plan)) {
    if (item.kind != RoutingItem::Kind::kRule || item.table != kIstioTable || !has_istios_routing(item.family))
      continue;
    // At each moment the mark leads to this host: their route becomes ours, our rule comes, theirs goes.
    if (auto replaced = adopt({RoutingItem::Kind::kRoute, item.family, item.table}); !replaced) return replaced;
    if (auto added = adopt(item); !added) return added;
    if (auto removed = remove_rules_of_istio(item.family); !removed) return removed;
    if (auto removed = remove_routes_of_istio(item.family); !removed) return removed;
  }
  return {};
}

Status remove_foreign(const Plan& plan) {
  const auto found = observe_foreign();
  if (!found) return found.error();
  bool istio =
      std::any_of(found->begin(), found->end(), [](const Foreign& one) { return one.mesh.starts_with("Istio"); });
  if (auto removed = remove_nft(); !removed) return removed;
  if (auto removed = remove_legacy(); !removed) return removed;
  for (const Family family : kFamilies) {
    if (!has_istios_routing(family)) continue;
    istio = true;
    if (auto removed = remove_rules_of_istio(family); !removed) return removed;
    if (auto removed = remove_routes_of_istio(family); !removed) return removed;
  }
  if (istio)
    if (auto removed = remove_passthrough_of_istio(plan); !removed) return removed;
  if (!found->empty()) log::info("another mesh's rules are removed", {{"they", to_string(*found)}});
  return {};
}

}  // namespace hawser::netfilter
