// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/emit_nft.h"

#include <set>

namespace hawser::netfilter {
namespace {

const char* direction(Hook hook) {
  return hook == Hook::kOutput ? "out" : "in";
}

template <typename T, typename Text>
std::string set_of(const std::vector<T>& values, Text text) {
  if (values.size() == 1) return text(values.front());
  std::string out = "{ ";
  for (std::size_t i = 0; i < values.size(); ++i) out += (i == 0 ? "" : ", ") + text(values[i]);
  return out + " }";
}

std::string text_of(const PortRange& range) {
  const std::string first = std::to_string(range.first);
  return range.first == range.last ? first : first + "-" + std::to_string(range.last);
}

const char* suffix(Family family) {
  return family == Family::kIpv6 ? "6" : "4";
}

// Networks of the operator may be many, so they get a named set, which nft lists apart from the rule.
bool named_set(const Rule& rule) {
  return rule.purpose == Purpose::kExcludedCidr;
}

std::string set_name(const Rule& rule) {
  return counter_name(rule) + suffix(rule.match.family);
}

std::string destinations(const Rule& rule) {
  const Match& match = rule.match;
  if (match.destinations.empty()) return {};
  const std::string field = match.family == Family::kIpv6 ? "ip6 daddr " : "ip daddr ";
  if (named_set(rule)) return field + "@" + set_name(rule) + " ";
  return field + set_of(match.destinations, [](const Cidr& cidr) { return cidr.text(); }) + " ";
}

// A port match implies TCP, an address match implies its family; what isn't implied is written out.
std::string matches(const Rule& rule) {
  const Match& match = rule.match;
  const auto number = [](std::uint32_t value) { return std::to_string(value); };
  std::string out;
  if (!match.interfaces.empty())
    out += std::string(outgoing(rule.hook) ? "oifname " : "iifname ") +
           set_of(match.interfaces, [](const std::string& name) { return "\"" + name + "\""; }) + " ";
  if (match.family != Family::kBoth && match.destinations.empty())
    out += std::string("meta nfproto ipv") + suffix(match.family) + " ";
  out += destinations(rule);
  if (match.protocol == Protocol::kNotTcp) out += "meta l4proto != tcp ";
  if (match.midstream) out += "tcp flags & (fin | syn | rst | ack) != syn ";
  if (match.not_local) out += "fib daddr type != local ";
  if (!match.source_ports.empty()) out += "tcp sport " + set_of(match.source_ports, text_of) + " ";
  if (!match.destination_ports.empty()) out += "tcp dport " + set_of(match.destination_ports, text_of) + " ";
  if (!match.uids.empty()) out += "meta skuid " + set_of(match.uids, number) + " ";
  if (!match.gids.empty()) out += "meta skgid " + set_of(match.gids, number) + " ";
  // Both `redirect to :PORT` and `reject with tcp reset` need a transport protocol.
  if (rule.action.captures() && match.destination_ports.empty() && match.source_ports.empty())
    out += "meta l4proto tcp ";
  return out;
}

std::string verdict(const Rule& rule) {
  if (rule.action.kind == Action::Kind::kRefuse) return "reject with tcp reset";
  return rule.action.kind == Action::Kind::kLeave ? "return" : "redirect to :" + std::to_string(rule.action.port);
}

std::string line(const Rule& rule) {
  return "    " + matches(rule) + "counter name \"" + counter_name(rule) + "\" " + verdict(rule) + " comment \"" +
         direction(rule.hook) + ":" + to_string(rule.purpose) + "\"\n";
}

std::string counters(const Plan& plan) {
  std::string out;
  std::set<std::string> seen;
  for (const Rule& rule : plan.rules)
    if (seen.insert(counter_name(rule)).second) out += "  counter " + counter_name(rule) + " { }\n";
  return out;
}

std::string sets(const Plan& plan) {
  std::string out;
  for (const Rule& rule : plan.rules) {
    if (!named_set(rule)) continue;
    out += "  set " + set_name(rule) + " {\n    type ipv" + suffix(rule.match.family) +
           "_addr\n    flags interval\n    elements = { ";
    for (std::size_t i = 0; i < rule.match.destinations.size(); ++i)
      out += (i == 0 ? "" : ", ") + rule.match.destinations[i].text();
    out += " }\n  }\n";
  }
  return out;
}

std::string chain(const Plan& plan, Hook hook) {
  const std::string name = hook == Hook::kOutput ? "output" : "prerouting";
  std::string out = "  chain " + name + " {\n    type nat hook " + name + " priority " + std::to_string(kPriority) +
                    "; policy accept;\n";
  for (const Rule& rule : plan.rules)
    if (rule.hook == hook) out += line(rule);
  return out + "  }\n";
}

}  // namespace

std::string counter_name(const Rule& rule) {
  return std::string(direction(rule.hook)) + "_" + to_string(rule.purpose);
}

std::string emit_nft(const Plan& plan, Existing existing, const std::string& table) {
  const std::string anchor = std::string("inet ") + kAnchorTable;
  // The chain is flushed before its rule is added, since it may be there already.
  std::string out =
      "table " + anchor + " {\n  chain hold {\n    type nat hook output priority -100; policy accept;\n  }\n}\n";
  out += "flush chain " + anchor + " hold\n";
  out += "add rule " + anchor + " hold ct state established accept\n";
  if (existing == Existing::kRules) out += emit_remove_rules(table);
  out += "table inet " + table + " {\n  flags owner\n  comment \"sha256:" + plan.digest + "\"\n";
  out += counters(plan) + sets(plan);
  if (plan.outbound) out += chain(plan, Hook::kOutput);
  if (plan.inbound) out += chain(plan, Hook::kPrerouting);
  return out + "}\n";
}

std::string emit_remove_rules(const std::string& table) {
  return "delete table inet " + table + "\n";
}
std::string emit_remove_anchor() {
  return std::string("delete table inet ") + kAnchorTable + "\n";
}

}  // namespace hawser::netfilter
