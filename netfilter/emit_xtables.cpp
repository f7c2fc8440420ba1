// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/emit_xtables.h"

#include <net/if.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <set>

#include "netfilter/xtables_tree.h"

namespace hawser::netfilter {
namespace {

// linux/netfilter/xt_multiport.h: XT_MULTI_PORTS slots, of which a range takes two.
constexpr std::size_t kPortSlots = 15;
// Above that, a rule's lists get chains of their own instead of every combination in one.
constexpr std::size_t kMaxInline = 16;
// linux/netfilter/xt_cgroup.h: XT_CGROUP_PATH_MAX, with its NUL
constexpr std::size_t kMaxCgroup = 511;

using Kind = XtTarget::Kind;

XtTarget go_to(const std::string& chain) {
  return {Kind::kGoto, chain};
}

bool ends(const XtTarget& target) {
  return target.kind != Kind::kMark && target.kind != Kind::kSaveMark && target.kind != Kind::kRestoreMark &&
         target.kind != Kind::kZone;
}

std::vector<std::vector<PortRange>> port_groups(const std::vector<PortRange>& ranges) {
  std::vector<std::vector<PortRange>> out;
  std::size_t free = 0;
  for (const PortRange& range : ranges) {
    const std::size_t needed = range.first == range.last ? 1 : 2;
    if (needed > free) {
      out.emplace_back();
      free = kPortSlots;
    }
    out.back().push_back(range);
    free -= needed;
  }
  return out;
}

// The alternatives of one list: each makes a match narrower by one element.
using Narrow = std::function<void(Match&)>;
using Choices = std::vector<Narrow>;

template <typename T>
void add_choices(std::vector<Choices>& out, const std::vector<T>& values, std::vector<T> Match::*member) {
  if (values.empty()) return;
  Choices choices;
  for (const T& value : values) choices.push_back([member, value](Match& match) { match.*member = {value}; });
  out.push_back(std::move(choices));
}

void add_port_choices(std::vector<Choices>& out, const std::vector<PortRange>& ranges,
                      std::vector<PortRange> Match::*member) {
  if (ranges.empty()) return;
  Choices choices;
  for (auto& group : port_groups(ranges))
    choices.push_back([member, group = std::move(group)](Match& match) { match.*member = group; });
  out.push_back(std::move(choices));
}

// What remains of a match without its lists of alternatives.
Match base_of(const Match& match) {
  Match out;
  out.protocol = match.protocol;
  out.midstream = match.midstream;
  out.tracked = match.tracked;
  out.local = match.local;
  out.not_local = match.not_local;
  out.not_destination_ports = match.not_destination_ports;
  out.not_gids = match.not_gids;
  out.not_marks = match.not_marks;
  return out;
}

// Rules of one hook, for one family, into one table.
class HookBuilder {
 public:
  HookBuilder(XtTableForm& form, std::string name, bool outgoing)
      : form_(form), name_(std::move(name)), outgoing_(outgoing), current_(new_chain(name_)) {}

  const std::string& first() const { return name_; }

  void add(const Match& match, const std::string& comment, const XtTarget& target) {
    if (match.family != Family::kBoth && match.family != form_.family) return;
    std::vector<Choices> choices;
    add_choices(choices, match.interfaces, &Match::interfaces);
    add_choices(choices, match.uids, &Match::uids);
    add_choices(choices, match.gids, &Match::gids);
    add_choices(choices, match.cgroups, &Match::cgroups);
    add_choices(choices, match.marks, &Match::marks);
    add_choices(choices, match.connection_marks, &Match::connection_marks);
    add_port_choices(choices, match.source_ports, &Match::source_ports);
    add_port_choices(choices, match.destination_ports, &Match::destination_ports);
    const std::size_t without_networks = product(choices);
    std::vector<Choices> all = choices;
    add_choices(all, match.sources, &Match::sources);
    add_choices(all, match.destinations, &Match::destinations);
    const bool one_exclusion = match.not_destinations.size() == 1 && match.destinations.empty();
    if (product(all) <= kMaxInline && (match.not_destinations.empty() || one_exclusion)) {
      Match base = base_of(match);
      base.not_destinations = match.not_destinations;
      return combine(current_, all, base, {base, false, comment, target});
    }
    staged(match, std::move(choices), without_networks, comment, target);
  }

  // Only packets that start a connection and that no NAT has changed are asked: what the nat table sees.
  void begin_refusing() {
    Match other;
    other.protocol = Protocol::kNotTcp;
    Match later;
    later.protocol = Protocol::kTcp;
    later.midstream = true;
    entries(current_).push_back({other, false, {}, {Kind::kReturn}});
    entries(current_).push_back({later, false, {}, {Kind::kReturn}});
    entries(current_).push_back({{}, true, {}, {Kind::kReturn}});
  }

 private:
  static std::size_t product(const std::vector<Choices>& choices) {
    std::size_t out = 1;
    for (const Choices& one : choices) out = std::min(out * one.size(), kMaxInline + 1);
    return out;
  }

  std::size_t new_chain(const std::string& name) {
    form_.chains.push_back({name, outgoing_});
    return form_.chains.size() - 1;
  }
  std::size_t new_chain() { return new_chain(name_ + "_" + std::to_string(++numbered_)); }
  std::vector<XtEntry>& entries(std::size_t chain) { return form_.chains[chain].entries; }
  XtTarget to(std::size_t chain) const { return go_to(form_.chains[chain].name); }

  // Every combination, each as one entry.
  void combine(std::size_t chain, const std::vector<Choices>& choices, const Match& narrowed, XtEntry entry,
               std::size_t from = 0) {
    if (from == choices.size()) {
      entry.match = narrowed;
      entries(chain).push_back(std::move(entry));
      return;
    }
    for (const Narrow& narrow : choices[from]) {
      Match next = narrowed;
      narrow(next);
      combine(chain, choices, next, entry, from + 1);
    }
  }

  // current ─base─► one chain a list ─► action, with `rest` for whatever doesn't match.
  void staged(const Match& match, std::vector<Choices> choices, std::size_t without_networks,
              const std::string& comment, const XtTarget& target) {
    const std::size_t rest = new_chain();
    const std::size_t action = new_chain();
    Match base = base_of(match);
    // What a target's kernel module asks for: REJECT and TPROXY check that the entry names a protocol.
    Match acting;
    acting.protocol = match.protocol;
    entries(action).push_back({acting, false, comment, target});
    if (!ends(target)) entries(action).push_back({{}, false, {}, to(rest)});
    std::size_t next = action;
    if (!match.not_destinations.empty()) next = networks(match.not_destinations, &Match::destinations, rest, next);
    if (!match.destinations.empty()) next = networks(match.destinations, &Match::destinations, next, rest);
    if (!match.sources.empty()) next = networks(match.sources, &Match::sources, next, rest);
    if (without_networks > kMaxInline) {
      std::sort(choices.begin(), choices.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
      while (!choices.empty() && product(choices) > kMaxInline) {
        next = stage(choices.front(), base, next, rest);
        choices.erase(choices.begin());
      }
    }
    combine(current_, choices, base, {base, false, {}, to(next)});
    entries(current_).push_back({{}, false, {}, to(rest)});
    current_ = rest;
  }

  std::size_t stage(const Choices& choices, const Match& base, std::size_t next, std::size_t rest) {
    const std::size_t chain = new_chain();
    for (const Narrow& narrow : choices) {
      Match match;
      match.protocol = base.protocol;  // ports need it
      narrow(match);
      entries(chain).push_back({match, false, {}, to(next)});
    }
    entries(chain).push_back({{}, false, {}, to(rest)});
    return chain;
  }

  std::size_t networks(const std::vector<Cidr>& list, std::vector<Cidr> Match::*member, std::size_t inside,
                       std::size_t outside) {
    const std::size_t chain = new_chain();
    std::vector<NetworkGroup> groups;
    if (list.size() <= kLeafWidth) {
      for (const Cidr& network : list) groups.push_back({network, {network}});
    } else {
      groups = split_networks(list);
    }
    entries(chain).reserve(groups.size() + 1);
    for (const NetworkGroup& group : groups) {
      const bool more = group.networks.size() > 1 && group.networks.size() < list.size();
      const std::size_t target = more ? networks(group.networks, member, inside, outside) : inside;
      Match match;
      match.*member = {group.common};
      entries(chain).push_back({match, false, {}, to(target)});
    }
    entries(chain).push_back({{}, false, {}, to(outside)});
    return chain;
  }

  XtTableForm& form_;
  std::string name_;
  bool outgoing_;
  unsigned numbered_ = 0;
  std::size_t current_;
};

const char* built_in(Hook hook) {
  return outgoing(hook) ? "OUTPUT" : "PREROUTING";
}

XtTable table_of(Hook hook) {
  if (hook == Hook::kRawOutput || hook == Hook::kRawPrerouting) return XtTable::kRaw;
  return hook == Hook::kOutput || hook == Hook::kPrerouting ? XtTable::kNat : XtTable::kMangle;
}

class Emitter {
 public:
  explicit Emitter(const Plan& plan) : plan_(plan) {}

  XtablesForm emit() {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      if (!(family == Family::kIpv4 ? plan_.ipv4 : plan_.ipv6)) continue;
      for (const XtTable table : {XtTable::kRaw, XtTable::kMangle, XtTable::kNat, XtTable::kFilter})
        add_table(family, table);
    }
    out_.digest = plan_.digest;
    out_.limits = limits();
    return std::move(out_);
  }

 private:
  std::vector<const Rule*> rules(Hook hook) const {
    std::vector<const Rule*> out;
    for (const Rule& rule : plan_.rules)
      if (rule.hook == hook) out.push_back(&rule);
    return out;
  }

  void add_table(Family family, XtTable table) {
    XtTableForm form{family, table};
    for (const Hook hook : kHooks) {
      if (table == XtTable::kFilter) add_refusing(form, hook);
      if (table_of(hook) == table) add_hook(form, hook);
    }
    if (table == XtTable::kNat) add_anchor(form);
    if (!form.chains.empty()) out_.tables.push_back(std::move(form));
  }

  static std::string comment_of(const Rule& rule) {
    return std::string("hawser:") + (outgoing(rule.hook) ? "out:" : "in:") + to_string(rule.purpose);
  }

  void add_hook(XtTableForm& form, Hook hook) {
    const auto all = rules(hook);
    // Of a table that only sees connections' first packets, and there refuses, nothing is left to do.
    const bool acts = std::any_of(all.begin(), all.end(), [](const Rule* rule) {
      return rule->action.kind != Action::Kind::kLeave && rule->action.kind != Action::Kind::kRefuse;
    });
    if (!acts) return;
    HookBuilder builder(form, std::string(kXtPrefix) + built_in(hook), outgoing(hook));
    for (const Rule* rule : all) {
      const bool refuses = rule->action.kind == Action::Kind::kRefuse;
      form.captures = form.captures || (rule->action.captures() && !refuses);
      builder.add(rule->match, refuses ? std::string() : comment_of(*rule), target_of(form, rule->action));
    }
    form.jumps.push_back({built_in(hook), builder.first()});
  }

  // The same rules once more where REJECT is possible.
  void add_refusing(XtTableForm& form, Hook hook) {
    const auto all = rules(hook);
    if (std::none_of(all.begin(), all.end(),
                     [](const Rule* rule) { return rule->action.kind == Action::Kind::kRefuse; }))
      return;
    const std::string from = outgoing(hook) ? "OUTPUT" : "INPUT";
    const std::string prefix = table_of(hook) == XtTable::kMangle ? "M_" : "";
    HookBuilder builder(form, kXtPrefix + prefix + from, outgoing(hook));
    builder.begin_refusing();
    const bool counted = std::all_of(all.begin(), all.end(), [](const Rule* rule) {
      return rule->action.kind == Action::Kind::kLeave || rule->action.kind == Action::Kind::kRefuse;
    });
    for (const Rule* rule : all) {
      if (!rule->action.final()) continue;
      const bool refuses = rule->action.kind == Action::Kind::kRefuse;
      builder.add(rule->match, refuses || counted ? comment_of(*rule) : std::string(),
                  {refuses ? Kind::kReject : Kind::kReturn});
    }
    form.jumps.push_back({from, builder.first()});
    form.captures = true;
  }

  static void add_anchor(XtTableForm& form) {
    XtChain chain{kXtAnchorChain};
    XtEntry entry;
    entry.match.tracked = Tracked::kEstablished;
    chain.entries.push_back(entry);
    form.chains.push_back(std::move(chain));
  }

  // A divert marks and leaves: a chain that is reached by goto does both.
  static XtTarget divert(XtTableForm& form, std::uint32_t mark) {
    char name[32];
    std::snprintf(name, sizeof name, "%sDIVERT_%x", kXtPrefix, mark);
    const bool there =
        std::any_of(form.chains.begin(), form.chains.end(), [&](const XtChain& chain) { return chain.name == name; });
    XtTarget marking{Kind::kMark};
    marking.mark = mark;
    if (!there) form.chains.push_back({name, false, {{{}, false, {}, marking}}});
    return go_to(name);
  }

  static XtTarget target_of(XtTableForm& form, const Action& action) {
    XtTarget out;
    out.port = action.port;
    out.mark = action.mark;
    out.zone = action.zone;
    switch (action.kind) {
      case Action::Kind::kLeave:
      case Action::Kind::kRefuse:
        break;
      case Action::Kind::kRedirect:
        out.kind = Kind::kRedirect;
        break;
      case Action::Kind::kTproxy:
        out.kind = Kind::kTproxy;
        break;
      case Action::Kind::kDrop:
        out.kind = Kind::kDrop;
        break;
      case Action::Kind::kDivert:
        return divert(form, action.mark);
      case Action::Kind::kMark:
        out.kind = Kind::kMark;
        break;
      case Action::Kind::kSaveMark:
        out.kind = Kind::kSaveMark;
        break;
      case Action::Kind::kRestoreMark:
        out.kind = Kind::kRestoreMark;
        break;
      case Action::Kind::kZone:
        out.kind = Kind::kZone;
        break;
    }
    return out;
  }

  std::vector<std::string> limits() const {
    std::vector<std::string> out{
        "xtables rules have no owner: they outlive the broker, and other programs can change or flush them; the "
        "broker finds that by reading them back",
        "each table and family changes atomically by itself, not all of them at once"};
    bool networks = false;
    bool refuses = false;
    for (const Rule& rule : plan_.rules) {
      networks = networks || rule.match.destinations.size() + rule.match.not_destinations.size() > kLeafWidth;
      refuses = refuses || rule.action.kind == Action::Kind::kRefuse;
    }
    if (plan_.tproxy)
      out.push_back(
          "a withdrawal ends what the proxy called with its caller's address (nftables keeps it): its way back is by a "
          "rule of the mangle table");
    if (networks) out.push_back("xtables has no sets: lists of networks are trees of chains by common prefix");
    if (refuses)
      out.push_back(
          "refusing is done by the filter table, behind other programs' NAT: what they redirect isn't refused");
    return out;
  }

  const Plan& plan_;
  XtablesForm out_;
};

std::string trouble_with(const Rule& rule) {
  const Match& match = rule.match;
  for (const std::string& name : match.interfaces) {
    const std::size_t wild = !name.empty() && name.back() == '*' ? 1 : 0;
    if (name.size() - wild >= IFNAMSIZ)
      return "interface " + name + ": names have at most " + std::to_string(IFNAMSIZ - 1) + " characters";
    if (name.back() == '+') return "interface " + name + ": to xtables the + stands for any ending";
  }
  const bool owner = !match.uids.empty() || !match.gids.empty() || !match.not_gids.empty() || !match.cgroups.empty();
  if (owner && !outgoing(rule.hook)) return "a socket's owner is known to outgoing packets only";
  for (const std::string& path : match.cgroups)
    if (path.size() > kMaxCgroup)
      return "cgroup " + path.substr(0, 40) + "…: a path has at most " + std::to_string(kMaxCgroup) + " characters";
  const bool ports = !match.source_ports.empty() || !match.destination_ports.empty() ||
                     !match.not_destination_ports.empty() || match.midstream;
  if (ports && match.protocol != Protocol::kTcp && match.protocol != Protocol::kUdp) return "ports need tcp or udp";
  if (rule.action.kind == Action::Kind::kDrop && table_of(rule.hook) == XtTable::kNat)
    return "the nat table can't drop";
  if (rule.action.kind == Action::Kind::kTproxy && rule.hook != Hook::kManglePrerouting)
    return "TPROXY works in mangle's PREROUTING only";
  if ((rule.action.kind == Action::Kind::kTproxy || rule.action.kind == Action::Kind::kRefuse) &&
      match.protocol != Protocol::kTcp)
    return std::string(rule.action.kind == Action::Kind::kTproxy ? "TPROXY" : "a reset") + " needs tcp";
  return {};
}

}  // namespace

const char* to_string(XtTable table) {
  switch (table) {
    case XtTable::kRaw:
      return "raw";
    case XtTable::kMangle:
      return "mangle";
    case XtTable::kNat:
      return "nat";
    case XtTable::kFilter:
      return "filter";
  }
  return "unknown";
}

std::string jump_comment(const std::string& digest, const std::string& fingerprint) {
  return "hawser:sha256:" + digest + (fingerprint.empty() ? "" : ":" + fingerprint);
}

Result<XtablesForm> emit_xtables(const Plan& plan) {
  std::set<std::string> troubles;
  for (const Rule& rule : plan.rules)
    if (auto trouble = trouble_with(rule); !trouble.empty())
      troubles.insert(std::string(outgoing(rule.hook) ? "out:" : "in:") + to_string(rule.purpose) + ": " + trouble);
  XtablesForm form;
  if (troubles.empty()) form = Emitter(plan).emit();
  for (const XtTableForm& table : form.tables) {
    std::size_t entries = 0;
    for (const XtChain& chain : table.chains) entries += chain.entries.size();
    if (entries > kXtMaxEntries)
      troubles.insert(std::string("table ") + to_string(table.table) + " would have " + std::to_string(entries) +
                      " entries, at most " + std::to_string(kXtMaxEntries));
  }
  if (troubles.empty()) return form;
  std::string all;
  for (const std::string& trouble : troubles) all += (all.empty() ? "" : "; ") + trouble;
  return Error(Code::kFailedPrecondition, "HWS-NF-070", "xtables can't express this plan: " + all,
               "change that part of the configuration, or use a kernel with nf_tables");
}

}  // namespace hawser::netfilter
