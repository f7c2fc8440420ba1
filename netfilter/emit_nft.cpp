// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/emit_nft.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <utility>

namespace hawser::netfilter {
namespace {

constexpr std::uint32_t kWhole = 0xffffffff;

const char* direction(Hook hook) {
  return outgoing(hook) ? "out" : "in";
}

template <typename T, typename Text>
std::string listed(const std::vector<T>& values, Text text) {
  std::string out;
  for (std::size_t i = 0; i < values.size(); ++i) out += (i == 0 ? "" : ", ") + text(values[i]);
  return out;
}

template <typename T, typename Text>
std::string set_of(const std::vector<T>& values, Text text) {
  return values.size() == 1 ? text(values.front()) : "{ " + listed(values, text) + " }";
}

std::string text_of(const PortRange& range) {
  return to_string(range);
}
std::string text_of_ids(const IdRange& range) {
  return to_string(range);
}
std::string number(std::uint32_t value) {
  return std::to_string(value);
}
std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}
// As nft lists it.
std::string mark_text(std::uint32_t value) {
  char out[16];
  std::snprintf(out, sizeof out, "0x%08x", value);
  return out;
}

bool all_whole(const std::vector<Mark>& marks) {
  return std::all_of(marks.begin(), marks.end(), [](const Mark& mark) { return mark.mask == kWhole; });
}

// The value's bits outside the mask never match anything, for a packet's are cleared before they're compared.
std::string compared(const char* what, const char* how, const Mark& mark) {
  if (mark.mask == kWhole) return std::string(what) + " " + (*how == '!' ? "!= " : "") + mark_text(mark.value) + " ";
  return std::string(what) + " & " + mark_text(mark.mask) + " " + how + " " + mark_text(mark.value) + " ";
}

std::string any_mark(const char* what, const std::vector<Mark>& marks) {
  if (marks.empty()) return {};
  if (marks.size() == 1) return compared(what, "==", marks.front());
  return std::string(what) + " " + set_of(marks, [](const Mark& mark) { return mark_text(mark.value); }) + " ";
}

std::size_t level(const std::string& cgroup) {
  return static_cast<std::size_t>(std::count(cgroup.begin(), cgroup.end(), '/')) + 1;
}

// One rule for each of `parts`, put where `member` says.
template <typename T>
void split(std::vector<Rule>& rules, std::vector<T> Match::*member, const std::vector<std::vector<T>>& parts) {
  if (parts.size() < 2) return;
  std::vector<Rule> out;
  for (const Rule& rule : rules) {
    for (const auto& part : parts) {
      out.push_back(rule);
      out.back().match.*member = part;
    }
  }
  rules = std::move(out);
}

std::vector<std::vector<Mark>> mark_parts(const std::vector<Mark>& marks) {
  std::vector<std::vector<Mark>> out;
  if (all_whole(marks)) return out;
  for (const Mark& mark : marks) out.push_back({mark});
  return out;
}

std::vector<std::vector<std::string>> cgroup_parts(const std::vector<std::string>& cgroups) {
  std::map<std::size_t, std::vector<std::string>> by_level;
  for (const std::string& cgroup : cgroups) by_level[level(cgroup)].push_back(cgroup);
  std::vector<std::vector<std::string>> out;
  for (auto& [unused, part] : by_level) out.push_back(std::move(part));
  return out;
}

bool in_table(const Rule& rule, const std::string& family) {
  return rule.match.family == Family::kBoth || family == "inet" ||
         (rule.match.family == Family::kIpv4) == (family == "ip");
}

// What nft says in one line each.
std::vector<Rule> lines_of(const Rule& rule, const std::string& family) {
  if (!in_table(rule, family)) return {};
  std::vector<Rule> out{rule};
  split(out, &Match::marks, mark_parts(rule.match.marks));
  split(out, &Match::connection_marks, mark_parts(rule.match.connection_marks));
  split(out, &Match::cgroups, cgroup_parts(rule.match.cgroups));
  if (rule.action.kind != Action::Kind::kTproxy || rule.match.family != Family::kBoth) return out;
  std::vector<Rule> per_family;
  for (Rule& one : out) {
    for (const Family each : {Family::kIpv4, Family::kIpv6}) {
      one.match.family = each;
      if (in_table(one, family)) per_family.push_back(one);
    }
  }
  return per_family;
}

// One table's text.
class TableText {
 public:
  enum class Owner { kSocket, kNobody };
  TableText(const Plan& plan, std::string name, std::string family, Owner owner)
      : plan_(plan), name_(std::move(name)), family_(std::move(family)), owner_(owner) {}

  std::string text(const std::string& comment) {
    std::string chains;
    for (const Hook hook : kHooks)
      if (is_here(hook)) chains += chain(hook);
    return "table " + family_ + " " + name_ + " {\n" + (owner_ == Owner::kSocket ? "  flags owner\n" : "") +
           "  comment \"" + comment + "\"\n" + counters() + sets_text_ + chains + "}\n";
  }

 private:
  bool is_here(Hook hook) const { return stays(plan_, hook) == (owner_ == Owner::kNobody); }

  std::string counters() const {
    std::string out;
    std::set<std::string> seen;
    for (const Rule& rule : plan_.rules)
      if (is_here(rule.hook) && in_table(rule, family_) && seen.insert(counter_name(rule)).second)
        out += "  counter " + counter_name(rule) + " { }\n";
    return out;
  }

  static std::string base(Hook hook) {
    const std::string where = outgoing(hook) ? "output" : "prerouting";
    switch (hook) {
      case Hook::kRawOutput:
      case Hook::kRawPrerouting:
        return "type filter hook " + where + " priority " + std::to_string(kRawPriority);
      case Hook::kMangleOutput:  // so that a new mark finds another route
        return "type route hook " + where + " priority " + std::to_string(kManglePriority);
      case Hook::kManglePrerouting:
        return "type filter hook " + where + " priority " + std::to_string(kManglePriority);
      default:
        return "type nat hook " + where + " priority " + std::to_string(kPriority);
    }
  }

  std::string chain(Hook hook) {
    std::string rules;
    for (const Rule& rule : plan_.rules)
      if (rule.hook == hook)
        for (const Rule& one : lines_of(rule, family_)) rules += line(one);
    const bool nat = hook == Hook::kOutput ? plan_.outbound : hook == Hook::kPrerouting && plan_.inbound;
    if (rules.empty() && !nat) return {};
    return "  chain " + std::string(to_string(hook)) + " {\n    " + base(hook) + "; policy accept;\n" + rules + "  }\n";
  }

  std::string line(const Rule& rule) {
    return "    " + matches(rule) + "counter name \"" + counter_name(rule) + "\" " + verdict(rule) + " comment \"" +
           direction(rule.hook) + ":" + to_string(rule.purpose) + "\"\n";
  }

  // The order is that of the cost to the kernel: what most packets fail comes first.
  std::string matches(const Rule& rule) {
    const Match& match = rule.match;
    std::string out;
    if (!match.interfaces.empty())
      out += std::string(outgoing(rule.hook) ? "oifname " : "iifname ") + set_of(match.interfaces, quoted) + " ";
    out += addresses(rule) + protocol(rule) + ports(match) + owners(match);
    if (match.local) out += "fib daddr type local ";
    if (match.not_local) out += "fib daddr type != local ";
    if (match.tracked == Tracked::kInvalid) out += "ct state invalid ";
    if (match.tracked == Tracked::kEstablished) out += "ct state established,related ";
    out += any_mark("ct mark", match.connection_marks) + any_mark("meta mark", match.marks);
    for (const Mark& mark : match.not_marks) out += compared("meta mark", "!=", mark);
    return out;
  }

  std::string addresses(const Rule& rule) {
    const Match& match = rule.match;
    std::string out;
    // A network implies its family, and a table of one family needs no word of it.
    if (match.family != Family::kBoth && family_ == "inet" && match.sources.empty() && match.destinations.empty() &&
        match.not_destinations.empty())
      out += std::string("meta nfproto ipv") + suffix(match.family) + " ";
    out += networks(rule, "saddr ", "", match.sources);
    out += networks(rule, "daddr ", "", match.destinations);
    return out + networks(rule, "daddr ", "!= ", match.not_destinations);
  }

  std::string networks(const Rule& rule, const char* field, const char* how, const std::vector<Cidr>& given) {
    if (given.empty()) return {};
    const std::string prefix = (given.front().family == Family::kIpv6 ? "ip6 " : "ip ") + std::string(field) + how;
    const auto values = normalised(given);
    if (values.size() == 1) return prefix + values.front().text() + " ";
    return prefix + "@" + named_set(rule, values) + " ";
  }

  // However many they are, it's one look-up; and nft lists them apart from the rule.
  std::string named_set(const Rule& rule, const std::vector<Cidr>& values) {
    const std::string elements = listed(values, [](const Cidr& cidr) { return cidr.text(); });
    const auto known = sets_.find(elements);
    if (known != sets_.end()) return known->second;
    const std::string stem = counter_name(rule) + suffix(values.front().family);
    std::string name = stem;
    for (int i = 2; !set_names_.insert(name).second; ++i) name = stem + "_" + std::to_string(i);
    sets_.emplace(elements, name);
    sets_text_ += "  set " + name + " {\n    type ipv" + suffix(values.front().family) +
                  "_addr\n    flags interval\n    elements = { " + elements + " }\n  }\n";
    return name;
  }

  static const char* suffix(Family family) { return family == Family::kIpv6 ? "6" : "4"; }

  // A match of ports or flags implies the protocol; what isn't implied is written out, for `redirect to :PORT`,
  // `tproxy` and `reject with tcp reset` need one.
  static std::string protocol(const Rule& rule) {
    const Match& match = rule.match;
    const bool ported = !match.source_ports.empty() || !match.destination_ports.empty();
    const bool implied = ported || !match.not_destination_ports.empty();
    if (match.protocol == Protocol::kNotTcp) return "meta l4proto != tcp ";
    if (match.midstream) return "tcp flags & (fin | syn | rst | ack) != syn ";
    if (implied && match.protocol != Protocol::kAny) return {};
    if (match.protocol == Protocol::kUdp) return "meta l4proto udp ";
    if (match.protocol == Protocol::kTcp || rule.action.captures()) return "meta l4proto tcp ";
    return implied ? "meta l4proto { tcp, udp } " : "";
  }

  static std::string ports(const Match& match) {
    const std::string header = match.protocol == Protocol::kTcp   ? "tcp "
                               : match.protocol == Protocol::kUdp ? "udp "
                                                                  : "th ";
    std::string out;
    if (!match.source_ports.empty()) out += header + "sport " + set_of(match.source_ports, text_of) + " ";
    if (!match.destination_ports.empty()) out += header + "dport " + set_of(match.destination_ports, text_of) + " ";
    if (!match.not_destination_ports.empty())
      out += header + "dport != " + set_of(match.not_destination_ports, text_of) + " ";
    return out;
  }

  static std::string owners(const Match& match) {
    std::string out;
    if (!match.uids.empty()) out += "meta skuid " + set_of(match.uids, text_of_ids) + " ";
    if (!match.gids.empty()) out += "meta skgid " + set_of(match.gids, number) + " ";
    if (!match.not_gids.empty()) out += "meta skgid != " + set_of(match.not_gids, number) + " ";
    if (!match.cgroups.empty())
      out += "socket cgroupv2 level " + std::to_string(level(match.cgroups.front())) + " " +
             set_of(match.cgroups, quoted) + " ";
    return out;
  }

  static std::string verdict(const Rule& rule) {
    const Action& action = rule.action;
    switch (action.kind) {
      case Action::Kind::kLeave:
        return "return";
      case Action::Kind::kRedirect:
        return "redirect to :" + std::to_string(action.port);
      case Action::Kind::kTproxy:
        return std::string("tproxy ") + (rule.match.family == Family::kIpv6 ? "ip6" : "ip") +
               " to :" + std::to_string(action.port) + " meta mark set " + mark_text(action.mark) + " return";
      case Action::Kind::kRefuse:
        return "reject with tcp reset";
      case Action::Kind::kDrop:
        return "drop";
      case Action::Kind::kDivert:
        return "meta mark set " + mark_text(action.mark) + " return";
      case Action::Kind::kMark:
        return "meta mark set " + mark_text(action.mark);
      case Action::Kind::kSaveMark:
        return "ct mark set meta mark";
      case Action::Kind::kRestoreMark:
        return "meta mark set ct mark";
      case Action::Kind::kZone:
        return "ct zone set " + std::to_string(action.zone);
    }
    return "return";
  }

  const Plan& plan_;
  std::string name_;
  std::string family_;
  Owner owner_;
  std::map<std::string, std::string> sets_;  // by their elements
  std::set<std::string> set_names_;
  std::string sets_text_;
};

// The chain is flushed before its rule is added, since it may be there already.
std::string anchor_chain(const std::string& anchor, const std::string& chain, const std::string& hook,
                         const std::string& rule) {
  return "table " + anchor + " {\n  chain " + chain + " {\n    type " + hook + "; policy accept;\n  }\n}\n" +
         "flush chain " + anchor + " " + chain + "\nadd rule " + anchor + " " + chain + " " + rule + "\n";
}

std::string emit_anchor(const std::string& family, const Plan& plan) {
  const std::string anchor = family + " " + kAnchorTable;
  std::string out = anchor_chain(anchor, "hold", "nat hook output priority -100", "ct state established accept");
  // What the proxy called with its caller's address is answered to that address, and has to come back to this host.
  if (plan.tproxy) {
    const std::string marked = compared("ct mark", "==", {plan.tproxy->mark, plan.tproxy->mask});
    out += anchor_chain(anchor, "back", "route hook output priority -150",
                        "meta l4proto tcp " + marked + "meta mark set ct mark");
  }
  return out;
}

std::string emit_delete(const std::string& table, Layout layout) {
  std::string out;
  for (const std::string& family : table_families(layout)) out += "delete table " + family + " " + table + "\n";
  return out;
}

}  // namespace

std::vector<std::string> table_families(Layout layout) {
  if (layout == Layout::kInet) return {"inet"};
  return {"ip", "ip6"};
}

std::string counter_name(const Rule& rule) {
  return std::string(direction(rule.hook)) + "_" + to_string(rule.purpose);
}

std::size_t count_lines(const Plan& plan, Hook hook, Layout layout) {
  std::size_t out = 0;
  for (const std::string& family : table_families(layout))
    for (const Rule& rule : plan.rules)
      if (rule.hook == hook) out += lines_of(rule, family).size();
  return out;
}

bool stays(const Plan& plan, Hook hook) {
  switch (hook) {
    case Hook::kOutput:
    case Hook::kRawOutput:
    case Hook::kRawPrerouting:  // answers to DNS
      return plan.outbound_stays;
    default:  // mangle is for TPROXY
      return plan.inbound_stays;
  }
}

std::string plan_comment(const Plan& plan, const std::string& generation) {
  return "sha256:" + plan.digest + (generation.empty() ? "" : " " + generation);
}

std::string emit_nft(const Plan& plan, Existing existing, const std::string& table, Layout layout,
                     const std::string& generation, Existing staying) {
  const auto families = table_families(layout);
  std::string out;
  for (const std::string& family : families) out += emit_anchor(family, plan);
  if (existing == Existing::kRules) out += emit_remove_rules(table, layout);
  if (staying == Existing::kRules) out += emit_remove_rules(kStaysTable, layout);
  const std::string comment = plan_comment(plan, generation);
  for (const std::string& family : families) {
    out += TableText(plan, table, family, TableText::Owner::kSocket).text(comment);
    if (plan.outbound_stays || plan.inbound_stays)
      out += TableText(plan, kStaysTable, family, TableText::Owner::kNobody).text(comment);
  }
  return out;
}

std::string emit_remove_rules(const std::string& table, Layout layout) {
  return emit_delete(table, layout);
}
std::string emit_remove_anchor(Layout layout) {
  return emit_delete(kAnchorTable, layout);
}

}  // namespace hawser::netfilter
