// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/explain.h"

#include <algorithm>
#include <cstdio>

namespace hawser::netfilter {
namespace {

std::string endpoint(const std::optional<Cidr>& address, std::optional<std::uint16_t> port) {
  if (!address) return port ? "any:" + std::to_string(*port) : "any";
  if (!port) return address->text();
  const std::string text = address->family == Family::kIpv6 ? "[" + address->text() + "]" : address->text();
  return text + ":" + std::to_string(*port);
}

const char* to_string(State state) {
  switch (state) {
    case State::kFirst:
      return "";
    case State::kMidstream:
      return ", of a connection that is older than the rules";
    case State::kEstablished:
      return ", of an established connection";
    case State::kInvalid:
      return ", of no known connection";
  }
  return "";
}

std::string describe(const Packet& packet) {
  const char* transport = packet.transport == Transport::kTcp   ? "tcp "
                          : packet.transport == Transport::kUdp ? "udp "
                                                                : "neither tcp nor udp ";
  const bool ports = packet.transport != Transport::kOther;
  std::string out = std::string(packet.outgoing ? "out " : "in ") + transport +
                    endpoint(packet.source, ports ? packet.source_port : std::nullopt) + " → " +
                    endpoint(packet.destination, ports ? std::optional(packet.destination_port) : std::nullopt);
  if (packet.local && packet.outgoing) out += " (this host)";
  if (packet.interface) out += ", interface " + *packet.interface;
  if (packet.uid) out += ", uid " + std::to_string(*packet.uid);
  if (packet.gid) out += ", gid " + std::to_string(*packet.gid);
  if (packet.cgroup) out += ", cgroup " + *packet.cgroup;
  if (packet.mark != 0) out += ", mark " + hex(packet.mark);
  return out + to_string(packet.state);
}

std::string listener(const Plan& plan, std::uint16_t port) {
  std::string out = "port " + std::to_string(port);
  if (port == plan.outbound_port) return out + ", the proxy's outbound listener";
  if (port == plan.inbound_port) return out + ", the proxy's inbound listener";
  return out;
}

std::string describe(const Plan& plan, const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::kLeft:
      return outcome.decided_before ? "goes on as its connection's first packet did: rules of NAT aren't asked again"
                                    : "left alone: it goes where it was going";
    case Outcome::Kind::kRedirected:
      return "redirected to " + listener(plan, outcome.port);
    case Outcome::Kind::kTproxied:
      return "proxied with its own addresses, to " + listener(plan, outcome.port);
    case Outcome::Kind::kDiverted:
      return "handed to the proxy's socket that it belongs to";
    case Outcome::Kind::kRefused:
      return "refused: there is no proxy to send it to";
    case Outcome::Kind::kDropped:
      return "dropped";
  }
  return "unknown";
}

// What the action of an open rule would make of the packet.
std::string describe(const Plan& plan, const Action& action) {
  Outcome outcome;
  outcome.port = action.port;
  switch (action.kind) {
    case Action::Kind::kLeave:
      return "left alone";
    case Action::Kind::kRedirect:
      outcome.kind = Outcome::Kind::kRedirected;
      break;
    case Action::Kind::kTproxy:
      outcome.kind = Outcome::Kind::kTproxied;
      break;
    case Action::Kind::kRefuse:
      outcome.kind = Outcome::Kind::kRefused;
      break;
    case Action::Kind::kDrop:
      outcome.kind = Outcome::Kind::kDropped;
      break;
    case Action::Kind::kDivert:
      outcome.kind = Outcome::Kind::kDiverted;
      break;
    case Action::Kind::kMark:
      return "marked with " + hex(action.mark);
    case Action::Kind::kSaveMark:
      return "its mark becomes the connection's";
    case Action::Kind::kRestoreMark:
      return "it gets the connection's mark";
    case Action::Kind::kZone:
      return "tracked in zone " + std::to_string(action.zone);
  }
  return describe(plan, outcome);
}

template <typename T, typename Text>
std::string listed(const std::vector<T>& values, const char* last, Text text) {
  constexpr std::size_t kShown = 8;
  std::string out;
  for (std::size_t i = 0; i < values.size() && i < kShown; ++i)
    out += (i == 0 ? "" : i + 1 == values.size() ? std::string(" ") + last + " " : ", ") + text(values[i]);
  if (values.size() > kShown) out += ", … (" + std::to_string(values.size()) + ")";
  return out;
}

// Of a match that fits but for what isn't known: what that is.
std::string condition(const Match& match, const Packet& packet) {
  const auto number = [](std::uint32_t value) { return std::to_string(value); };
  const auto ids = [](const IdRange& range) { return netfilter::to_string(range); };
  const auto text = [](const std::string& value) { return value; };
  const auto port = [](const PortRange& range) { return netfilter::to_string(range); };
  std::vector<std::string> parts;
  if (!packet.source && !match.sources.empty())
    parts.push_back("it comes from " + listed(match.sources, "or", [](const Cidr& cidr) { return cidr.text(); }));
  if (!packet.source_port && !match.source_ports.empty())
    parts.push_back("its source port is " + listed(match.source_ports, "or", port));
  if (!packet.uid && !match.uids.empty()) parts.push_back("its owner's uid is " + listed(match.uids, "or", ids));
  if (!packet.gid && !match.gids.empty()) parts.push_back("its owner's gid is " + listed(match.gids, "or", number));
  if (!packet.gid && !match.not_gids.empty())
    parts.push_back("its owner's gid is not " + listed(match.not_gids, "nor", number));
  if (!packet.cgroup && !match.cgroups.empty())
    parts.push_back("its owner is in the cgroup " + listed(match.cgroups, "or", text));
  if (!packet.interface && !match.interfaces.empty() && match.interfaces != std::vector<std::string>{"lo"})
    parts.push_back("its interface is " + listed(match.interfaces, "or", text));
  return listed(parts, "and", text);
}

Explanation::By by(const Plan& plan, std::size_t index) {
  const Rule& rule = plan.rules[index];
  return {index + 1, to_string(rule.purpose), to_string(rule), reason(rule.purpose)};
}

// The same packet of anybody, through any interface that it could take.
Packet anybodys(Packet packet) {
  packet.uid.reset();
  packet.gid.reset();
  packet.cgroup.reset();
  if (packet.interface != "lo") packet.interface.reset();
  return packet;
}

void add_otherwise(const Plan& plan, const Packet& packet, Explanation& out) {
  const Packet any = anybodys(packet);
  const Outcome general = evaluate(plan, any);
  for (const std::size_t index : general.open) {
    if (index == out.result.rule) continue;
    if (std::find(out.result.matched.begin(), out.result.matched.end(), index) != out.result.matched.end()) continue;
    const std::string when = condition(plan.rules[index].match, any);
    if (!when.empty()) out.otherwise.push_back({when, describe(plan, plan.rules[index].action), by(plan, index)});
  }
  if (general.kind == out.result.kind && general.port == out.result.port) return;
  Explanation::Otherwise rest{"it's none of these", describe(plan, general), {}};
  if (out.otherwise.empty()) rest.condition = "it's of another owner, or takes another interface";
  if (general.rule) rest.by = by(plan, *general.rule);
  out.otherwise.push_back(std::move(rest));
}

const char* heading(Hook hook) {
  switch (hook) {
    case Hook::kRawOutput:
      return "raw, output: every packet that this host sends, before it's tracked";
    case Hook::kRawPrerouting:
      return "raw, prerouting: every packet that arrives, before it's tracked";
    case Hook::kMangleOutput:
      return "mangle, output: every packet that this host sends";
    case Hook::kManglePrerouting:
      return "mangle, prerouting: every packet that arrives";
    case Hook::kOutput:
      return "nat, output: the first packet of each connection that this host opens";
    case Hook::kPrerouting:
      return "nat, prerouting: the first packet of each connection that arrives";
  }
  return "";
}

std::string families(const Plan& plan) {
  return plan.ipv4 && plan.ipv6 ? "IPv4 and IPv6" : plan.ipv6 ? "IPv6 alone" : "IPv4 alone";
}

std::string summary(const Plan& plan) {
  std::string out = families(plan);
  if (plan.outbound) out += "; outbound to port " + std::to_string(plan.outbound_port);
  if (plan.inbound) out += "; inbound to port " + std::to_string(plan.inbound_port);
  return out + "\ngeneration " + plan.digest + "\n";
}

// How many lines from the front, or from the back, are the same.
template <typename Iterator>
std::size_t same(Iterator a, Iterator a_end, Iterator b, Iterator b_end) {
  return static_cast<std::size_t>(std::mismatch(a, a_end, b, b_end).first - a);
}

}  // namespace

Explanation explain(const Plan& plan, const Packet& packet) {
  Explanation out;
  out.result = evaluate(plan, packet);
  out.packet = describe(packet);
  out.outcome = describe(plan, out.result);
  if (out.result.rule) out.by = by(plan, *out.result.rule);
  for (const std::size_t index : out.result.matched) {
    const Action& action = plan.rules[index].action;
    if (!action.final())
      out.on_its_way.push_back(describe(plan, action) + " by rule " + std::to_string(index + 1) + " (" +
                               to_string(plan.rules[index].purpose) + ")");
  }
  add_otherwise(plan, packet, out);
  return out;
}

std::string to_text(const Explanation& explanation) {
  std::string out = explanation.packet + "\n" + explanation.outcome + "\n";
  const auto add = [&out](const Explanation::By& by, const char* indent) {
    out += std::string(indent) + "by rule " + std::to_string(by.number) + "  " + by.rule + "\n";
    out += std::string(indent) + "because    " + by.why + "\n";
  };
  if (explanation.by)
    add(*explanation.by, "  ");
  else if (!explanation.result.decided_before)
    out += "  because no rule matches it\n";
  for (const std::string& line : explanation.on_its_way) out += "on its way: " + line + "\n";
  for (const auto& other : explanation.otherwise) {
    out += "if " + other.condition + ": " + other.outcome + "\n";
    if (other.by.number != 0) add(other.by, "  ");
  }
  return out;
}

std::string plan_text(const Plan& plan) {
  std::string out = summary(plan);
  for (const Hook hook : kHooks) {
    bool first = true;
    for (std::size_t i = 0; i < plan.rules.size(); ++i) {
      if (plan.rules[i].hook != hook) continue;
      if (first) out += std::string("\n") + heading(hook) + "\n";
      first = false;
      char number[32];
      std::snprintf(number, sizeof number, "%5zu  ", i + 1);
      out += number + to_string(plan.rules[i]) + "\n";
    }
  }
  return out;
}

std::vector<std::string> rule_lines(const Plan& plan) {
  std::vector<std::string> out;
  for (const Hook hook : kHooks)
    for (const Rule& rule : plan.rules)
      if (rule.hook == hook) out.push_back(to_string(rule));
  return out;
}

// Plans have tens of rules and differ in few, so what is the same at both ends and, between them, by line is enough.
std::string diff_text(const std::vector<std::string>& before, const std::vector<std::string>& after) {
  if (before == after) return {};
  constexpr std::size_t kContext = 3;
  const std::size_t front = same(before.begin(), before.end(), after.begin(), after.end());
  const std::size_t shorter = std::min(before.size(), after.size()) - front;
  const std::size_t back = std::min(shorter, same(before.rbegin(), before.rend(), after.rbegin(), after.rend()));
  std::string out;
  const auto line = [&out](const char* sign, const std::string& text) { out += sign + text + "\n"; };
  for (std::size_t i = front > kContext ? front - kContext : 0; i < front; ++i) line("  ", before[i]);
  const std::size_t before_end = before.size() - back;
  const std::size_t after_end = after.size() - back;
  std::size_t at = front;
  for (std::size_t i = front; i < before_end; ++i) {
    const auto end = after.begin() + static_cast<std::ptrdiff_t>(after_end);
    const auto found = std::find(after.begin() + static_cast<std::ptrdiff_t>(at), end, before[i]);
    if (found == end) {
      line("- ", before[i]);
      continue;
    }
    for (; after[at] != before[i]; ++at) line("+ ", after[at]);
    line("  ", before[i]);
    ++at;
  }
  for (; at < after_end; ++at) line("+ ", after[at]);
  for (std::size_t i = before_end; i < std::min(before.size(), before_end + kContext); ++i) line("  ", before[i]);
  return out;
}

}  // namespace hawser::netfilter
