// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "netfilter/plan.h"

namespace hawser::netfilter::oracle {

// A packet and its socket's owner, as the hooks of one direction see them. The planner's tests ask here, and not the
// evaluator, so that a rule that both misunderstand alike is found.
struct Packet {
  bool out = true;
  std::string to = "10.9.8.7";
  std::uint32_t dport = 80;
  std::string from = {};  // 10.77.0.20 or fd77::20
  std::uint32_t sport = 50000;
  std::uint32_t uid = 1000;
  std::uint32_t gid = 1000;
  std::string cgroup = "user.slice";
  std::string interface = "eth0";
  bool udp = false;
  bool first = true;  // a SYN
  bool local = true;  // the destination is this host's (in)
  Tracked tracked = Tracked::kAny;
  std::uint32_t mark = 0;
  std::uint32_t connection_mark = 0;
};

struct Fate {
  std::uint32_t port = 0;  // where it's redirected, or proxied
  bool refused = false;
  bool dropped = false;
  bool tproxy = false;
  std::uint32_t mark = 0;
  std::uint32_t connection_mark = 0;
  std::uint16_t zone = 0;
  std::optional<Purpose> by;  // what ended its way
};

inline bool has_port(const std::vector<PortRange>& ranges, std::uint32_t port) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [port](const PortRange& range) { return range.first <= port && port <= range.last; });
}
inline bool has_address(const std::vector<Cidr>& networks, const Cidr& address) {
  return std::any_of(networks.begin(), networks.end(), [&](const Cidr& cidr) { return cidr.contains(address); });
}
inline bool has_mark(const std::vector<Mark>& marks, std::uint32_t mark) {
  return std::any_of(marks.begin(), marks.end(), [mark](const Mark& m) { return (mark & m.mask) == m.value; });
}
template <typename T>
bool has(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}
inline bool has_interface(const std::vector<std::string>& names, const std::string& name) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& n) {
    return n.back() == '*' ? name.compare(0, n.size() - 1, n, 0, n.size() - 1) == 0 : n == name;
  });
}
inline bool has_cgroup(const std::vector<std::string>& paths, const std::string& path) {
  return std::any_of(paths.begin(), paths.end(),
                     [&](const std::string& p) { return path == p || path.compare(0, p.size() + 1, p + "/") == 0; });
}

inline bool has_uid(const std::vector<IdRange>& ranges, std::uint32_t uid) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [uid](const IdRange& range) { return range.first <= uid && uid <= range.last; });
}

inline bool owner_matches(const Match& match, const Packet& packet) {
  return (match.uids.empty() || has_uid(match.uids, packet.uid)) &&
         (match.gids.empty() || has(match.gids, packet.gid)) && !has(match.not_gids, packet.gid) &&
         (match.cgroups.empty() || has_cgroup(match.cgroups, packet.cgroup));
}

inline bool matches(const Match& match, const Packet& packet, const Fate& fate) {
  const Cidr to = parse_cidr(packet.to).value();
  const bool v4 = to.family == Family::kIpv4;
  const Cidr from = parse_cidr(!packet.from.empty() ? packet.from : v4 ? "10.77.0.20" : "fd77::20").value();
  if (match.family != Family::kBoth && match.family != to.family) return false;
  if (match.protocol == (packet.udp ? Protocol::kTcp : Protocol::kUdp)) return false;
  if (match.protocol == Protocol::kNotTcp && !packet.udp) return false;
  if (match.midstream && packet.first) return false;
  if (match.tracked != Tracked::kAny && match.tracked != packet.tracked) return false;
  if ((match.local && !packet.local) || (match.not_local && packet.local)) return false;
  if (!match.interfaces.empty() && !has_interface(match.interfaces, packet.interface)) return false;
  if (!match.sources.empty() && !has_address(match.sources, from)) return false;
  if (!match.destinations.empty() && !has_address(match.destinations, to)) return false;
  if (has_address(match.not_destinations, to)) return false;
  if (!match.source_ports.empty() && !has_port(match.source_ports, packet.sport)) return false;
  if (!match.destination_ports.empty() && !has_port(match.destination_ports, packet.dport)) return false;
  if (has_port(match.not_destination_ports, packet.dport)) return false;
  if (!match.marks.empty() && !has_mark(match.marks, fate.mark)) return false;
  if (has_mark(match.not_marks, fate.mark)) return false;
  if (!match.connection_marks.empty() && !has_mark(match.connection_marks, fate.connection_mark)) return false;
  return owner_matches(match, packet);
}

inline void act(const Rule& rule, Fate& fate) {
  using Kind = Action::Kind;
  const Action& action = rule.action;
  if (action.final()) fate.by = rule.purpose;
  if (action.kind == Kind::kRedirect || action.kind == Kind::kTproxy) fate.port = action.port;
  fate.tproxy = fate.tproxy || action.kind == Kind::kTproxy;
  fate.refused = fate.refused || action.kind == Kind::kRefuse;
  fate.dropped = fate.dropped || action.kind == Kind::kDrop;
  if (action.kind == Kind::kTproxy || action.kind == Kind::kDivert || action.kind == Kind::kMark)
    fate.mark = action.mark;
  if (action.kind == Kind::kSaveMark) fate.connection_mark = fate.mark;
  if (action.kind == Kind::kRestoreMark) fate.mark = fate.connection_mark;
  if (action.kind == Kind::kZone && fate.zone == 0) fate.zone = action.zone;
}

// Through raw, mangle and nat, in this order.
inline Fate send(const Plan& plan, const Packet& packet) {
  Fate fate;
  fate.mark = packet.mark;
  fate.connection_mark = packet.connection_mark;
  for (const Hook hook : kHooks) {
    if (outgoing(hook) != packet.out) continue;
    for (const Rule& rule : plan.rules) {
      if (rule.hook != hook || !matches(rule.match, packet, fate)) continue;
      act(rule, fate);
      if (rule.action.final()) break;
    }
  }
  return fate;
}

// Where a program's connection goes: a port of the proxy or the agent, or 0.
inline std::uint32_t port_of(const Plan& plan, const Packet& packet) {
  return send(plan, packet).port;
}

}  // namespace hawser::netfilter::oracle
