// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/evaluate.h"

#include <algorithm>

namespace hawser::netfilter {
namespace {

constexpr const char* kLoopback = "lo";

Answer certain(bool yes) {
  return yes ? Answer::kYes : Answer::kNo;
}

// The weakest of all parts decides.
class All {
 public:
  void add(Answer part) { answer_ = std::min(answer_, part); }
  void add(bool yes) { add(certain(yes)); }
  Answer answer() const { return answer_; }

 private:
  Answer answer_ = Answer::kYes;
};

template <typename T, typename Fits>
bool any(const std::vector<T>& values, Fits fits) {
  return std::any_of(values.begin(), values.end(), fits);
}

bool has_port(const std::vector<PortRange>& ranges, std::uint16_t port) {
  return any(ranges, [port](const PortRange& range) { return range.first <= port && port <= range.last; });
}

bool has_address(const std::vector<Cidr>& networks, const Cidr& address) {
  return any(networks, [&address](const Cidr& network) { return network.contains(address); });
}

bool has_mark(const std::vector<Mark>& marks, std::uint32_t mark) {
  return any(marks, [mark](const Mark& wanted) { return (mark & wanted.mask) == (wanted.value & wanted.mask); });
}

bool has(const std::vector<std::uint32_t>& values, std::uint32_t value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// In a cgroup, or below it.
bool within(const std::string& cgroup, const std::string& of) {
  return cgroup.rfind(of, 0) == 0 && (cgroup.size() == of.size() || cgroup[of.size()] == '/');
}

bool named(const std::string& pattern, const std::string& interface) {
  if (!pattern.empty() && pattern.back() == '*') return interface.rfind(pattern.substr(0, pattern.size() - 1), 0) == 0;
  return pattern == interface;
}

// Whether a packet takes lo is always known.
Answer on_interface(const std::vector<std::string>& patterns, const Packet& packet) {
  if (patterns.empty()) return Answer::kYes;
  if (packet.interface)
    return certain(any(patterns, [&packet](const auto& pattern) { return named(pattern, *packet.interface); }));
  if (packet.outgoing && packet.local)
    return certain(any(patterns, [](const auto& pattern) { return named(pattern, kLoopback); }));
  const bool only_loopback = !any(patterns, [](const auto& pattern) { return pattern != kLoopback; });
  return only_loopback ? Answer::kNo : Answer::kUnknown;
}

Answer of_protocol(Protocol protocol, const Packet& packet) {
  switch (protocol) {
    case Protocol::kAny:
      return Answer::kYes;
    case Protocol::kTcp:
      return certain(packet.transport == Transport::kTcp);
    case Protocol::kUdp:
      return certain(packet.transport == Transport::kUdp);
    case Protocol::kNotTcp:
      return certain(packet.transport != Transport::kTcp);
  }
  return Answer::kNo;
}

Answer in_state(const Match& match, const Packet& packet) {
  All all;
  if (match.midstream) all.add(packet.transport == Transport::kTcp && packet.state != State::kFirst);
  if (match.tracked == Tracked::kInvalid) all.add(packet.state == State::kInvalid);
  if (match.tracked == Tracked::kEstablished) all.add(packet.state == State::kEstablished);
  if (match.local) all.add(packet.local);
  if (match.not_local) all.add(!packet.local);
  return all.answer();
}

Answer by_address(const Match& match, const Packet& packet) {
  All all;
  all.add(match.family == Family::kBoth || match.family == packet.destination.family);
  if (!match.sources.empty())
    all.add(packet.source ? certain(has_address(match.sources, *packet.source)) : Answer::kUnknown);
  if (!match.destinations.empty()) all.add(has_address(match.destinations, packet.destination));
  if (!match.not_destinations.empty()) all.add(!has_address(match.not_destinations, packet.destination));
  return all.answer();
}

Answer by_port(const Match& match, const Packet& packet) {
  All all;
  const bool asked =
      !match.source_ports.empty() || !match.destination_ports.empty() || !match.not_destination_ports.empty();
  if (asked) all.add(packet.transport != Transport::kOther);
  if (!match.source_ports.empty())
    all.add(packet.source_port ? certain(has_port(match.source_ports, *packet.source_port)) : Answer::kUnknown);
  if (!match.destination_ports.empty()) all.add(has_port(match.destination_ports, packet.destination_port));
  if (!match.not_destination_ports.empty()) all.add(!has_port(match.not_destination_ports, packet.destination_port));
  return all.answer();
}

Answer by_owner(const Match& match, const Packet& packet, bool outgoing) {
  All all;
  const auto owned = [&](bool asked, bool known, auto fits) {
    if (asked) all.add(!outgoing ? Answer::kNo : known ? certain(fits()) : Answer::kUnknown);
  };
  owned(!match.uids.empty(), packet.uid.has_value(), [&] { return contains(match.uids, *packet.uid); });
  owned(!match.gids.empty(), packet.gid.has_value(), [&] { return has(match.gids, *packet.gid); });
  owned(!match.not_gids.empty(), packet.gid.has_value(), [&] { return !has(match.not_gids, *packet.gid); });
  owned(!match.cgroups.empty(), packet.cgroup.has_value(),
        [&] { return any(match.cgroups, [&packet](const auto& of) { return within(*packet.cgroup, of); }); });
  return all.answer();
}

Answer by_mark(const Match& match, const Packet& packet) {
  All all;
  if (!match.marks.empty()) all.add(has_mark(match.marks, packet.mark));
  if (!match.not_marks.empty()) all.add(!has_mark(match.not_marks, packet.mark));
  if (!match.connection_marks.empty()) all.add(has_mark(match.connection_marks, packet.connection_mark));
  return all.answer();
}

bool of_nat(Hook hook) {
  return hook == Hook::kOutput || hook == Hook::kPrerouting;
}

bool begins(const Packet& packet) {
  return packet.state == State::kFirst || packet.state == State::kMidstream;
}

Cidr loopback(Family family) {
  Cidr out;
  out.family = family;
  out.prefix = family == Family::kIpv4 ? 32 : 128;
  if (family == Family::kIpv4) out.bytes[0] = 127;
  out.bytes[family == Family::kIpv4 ? 3 : 15] = 1;
  return out;
}

// The route of TPROXY is for the marks that its rules set, in the families that have such rules.
bool routed_to_lo(const Plan& plan, Family family, std::uint32_t mark) {
  return mark != 0 && any(plan.rules, [family, mark](const Rule& rule) {
           const bool of_family = rule.match.family == Family::kBoth || rule.match.family == family;
           const bool marks = rule.action.kind == Action::Kind::kTproxy || rule.action.kind == Action::Kind::kDivert;
           return of_family && marks && rule.action.mark == mark;
         });
}

class Walk {
 public:
  Walk(const Plan& plan, const Packet& packet) : plan_(plan), packet_(packet) {}

  Outcome go() {
    if (packet_.outgoing) {
      const bool on = pass(Hook::kRawOutput) && pass(Hook::kMangleOutput) && pass(Hook::kOutput);
      if (on && (packet_.local || routed_to_lo(plan_, packet_.destination.family, packet_.mark))) come_in_again();
    } else {
      (void)(pass(Hook::kRawPrerouting) && pass(Hook::kManglePrerouting) && pass(Hook::kPrerouting));
    }
    out_.mark = packet_.mark;
    out_.connection_mark = packet_.connection_mark;
    return std::move(out_);
  }

 private:
  // NAT was decided on the way out, so its hook isn't asked.
  void come_in_again() {
    out_.second_lap = true;
    packet_.interface = kLoopback;
    (void)(pass(Hook::kRawPrerouting) && pass(Hook::kManglePrerouting));
  }

  // False: the packet's way ends here.
  bool pass(Hook hook) {
    if (of_nat(hook) && !begins(packet_)) {
      out_.decided_before = true;
      return true;
    }
    for (std::size_t i = 0; i < plan_.rules.size(); ++i) {
      const Rule& rule = plan_.rules[i];
      if (rule.hook != hook) continue;
      const Answer answer = matches(rule.match, packet_, netfilter::outgoing(hook));
      if (answer == Answer::kUnknown) out_.open.push_back(i);
      if (answer != Answer::kYes) continue;
      out_.matched.push_back(i);
      if (rule.action.final()) return decide(rule.action, i);
      change(rule.action);
    }
    return true;
  }

  void change(const Action& action) {
    if (action.kind == Action::Kind::kMark) packet_.mark = action.mark;
    if (action.kind == Action::Kind::kSaveMark) packet_.connection_mark = packet_.mark;
    if (action.kind == Action::Kind::kRestoreMark) packet_.mark = packet_.connection_mark;
    if (action.kind == Action::Kind::kZone && out_.zone == 0) out_.zone = action.zone;
  }

  bool decide(const Action& action, std::size_t rule) {
    switch (action.kind) {
      case Action::Kind::kRedirect:
        packet_.destination_port = action.port;
        packet_.local = true;
        if (packet_.outgoing) packet_.destination = loopback(packet_.destination.family);
        return set(Outcome::Kind::kRedirected, rule, action.port);
      case Action::Kind::kTproxy:
        packet_.mark = action.mark;
        return set(Outcome::Kind::kTproxied, rule, action.port);
      case Action::Kind::kDivert:
        packet_.mark = action.mark;
        return set(Outcome::Kind::kDiverted, rule, 0);
      case Action::Kind::kRefuse:
        (void)set(Outcome::Kind::kRefused, rule, 0);
        return false;
      case Action::Kind::kDrop:
        (void)set(Outcome::Kind::kDropped, rule, 0);
        return false;
      default:
        // Left by this hook; what another one did to it stands. Of the way out and the way in, the way out tells more.
        if (out_.kind == Outcome::Kind::kLeft && !(out_.second_lap && out_.rule)) out_.rule = rule;
        return true;
    }
  }

  bool set(Outcome::Kind kind, std::size_t rule, std::uint16_t port) {
    out_.kind = kind;
    out_.rule = rule;
    out_.port = port;
    return true;
  }

  const Plan& plan_;
  Packet packet_;
  Outcome out_;
};

}  // namespace

Answer matches(const Match& match, const Packet& packet, bool outgoing) {
  // What costs least first: most rules don't match most packets.
  Answer answer = std::min(of_protocol(match.protocol, packet), in_state(match, packet));
  if (answer != Answer::kNo) answer = std::min(answer, by_port(match, packet));
  if (answer != Answer::kNo) answer = std::min(answer, by_owner(match, packet, outgoing));
  if (answer != Answer::kNo) answer = std::min(answer, by_mark(match, packet));
  if (answer != Answer::kNo) answer = std::min(answer, on_interface(match.interfaces, packet));
  if (answer != Answer::kNo) answer = std::min(answer, by_address(match, packet));
  return answer;
}

bool Outcome::captured() const {
  return kind == Kind::kRedirected || kind == Kind::kTproxied || kind == Kind::kRefused;
}

const char* to_string(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::kLeft:
      return "left alone";
    case Outcome::Kind::kRedirected:
      return "redirected";
    case Outcome::Kind::kTproxied:
      return "proxied transparently";
    case Outcome::Kind::kDiverted:
      return "diverted";
    case Outcome::Kind::kRefused:
      return "refused";
    case Outcome::Kind::kDropped:
      return "dropped";
  }
  return "unknown";
}

Outcome evaluate(const Plan& plan, const Packet& packet) {
  return Walk(plan, packet).go();
}

bool may_capture(const Plan& plan, const Opening& opening) {
  Packet packet;
  packet.destination = opening.destination;
  packet.source_port = opening.source_port;
  packet.destination_port = opening.destination_port;
  packet.local = opening.local;
  const Outcome outcome = evaluate(plan, packet);
  return outcome.captured() || std::any_of(outcome.open.begin(), outcome.open.end(), [&plan](std::size_t rule) {
           return outgoing(plan.rules[rule].hook) && plan.rules[rule].action.captures();
         });
}

}  // namespace hawser::netfilter
