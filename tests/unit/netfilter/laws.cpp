// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "laws.h"

#include <algorithm>

#include "netfilter/explain.h"

namespace hawser::netfilter::laws {
namespace {

using Kind = Outcome::Kind;
using world::Scenario;

std::string told(const Plan& plan, const Packet& packet, const std::string& why) {
  return why + "\n" + to_text(explain(plan, packet));
}

template <typename T>
bool holds(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool touched(const Outcome& outcome) {
  return outcome.kind != Kind::kLeft && outcome.kind != Kind::kDiverted;
}

// By the inbound listener: the agent's probes and the proxy's calls to this very host come in there.
bool at_inbound(const Plan& plan, const Outcome& outcome) {
  return (outcome.kind == Kind::kRedirected || outcome.kind == Kind::kTproxied) && outcome.port == plan.inbound_port;
}

std::string own_traffic(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  const bool own = packet.outgoing && contains(scenario.intent.exempt_uids, *packet.uid);
  const Outcome outcome = evaluate(plan, packet);
  if (!own || !touched(outcome)) return {};
  if (outcome.kind == Kind::kDropped && packet.state == State::kInvalid) return {};
  const bool probe_without_proxy = outcome.kind == Kind::kRefused && *packet.uid == scenario.intent.probe_uid;
  if (packet.local && (at_inbound(plan, outcome) || probe_without_proxy)) return {};
  return told(plan, packet, "it's the proxy's or the agent's");
}

bool on_never_list(const Scenario& scenario, const Packet& p) {
  const bool tcp = p.transport == Transport::kTcp;
  const auto ssh = [&](std::uint16_t port) { return port == 22 || holds(scenario.guard.ssh_ports, port); };
  if (p.transport == Transport::kUdp && (p.destination_port == 67 || p.destination_port == 68)) return true;
  // From port 22 answers sshd, and not the proxy.
  const bool proxys = p.outgoing && (*p.uid == world::kProxy || *p.gid == world::kProxy);
  if (tcp && p.outgoing && (p.destination_port == 22 || (ssh(*p.source_port) && !proxys)))
    return p.destination_port != 53;
  if (tcp && !p.outgoing && (ssh(p.destination_port) || *p.source_port == 22)) return true;
  if (p.destination_port == 53) return false;  // a cloud's resolver has the metadata's address
  const auto& never = scenario.intent.never;
  return p.outgoing && (p.destination.text() == "169.254.169.254" || p.destination.text() == "fd00:ec2::254" ||
                        std::any_of(never.begin(), never.end(), [&](const Endpoint& e) {
                          return e.address == p.destination.text() &&
                                 (e.port == 0 || (tcp && e.port == p.destination_port));
                        }));
}

std::string never_list(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  const bool probe = packet.destination_port == kProbePort && (packet.local || packet.interface == kProbeInterface);
  if (probe || !on_never_list(scenario, packet) || !touched(evaluate(plan, packet))) return {};
  return told(plan, packet, "it's on the never-list");
}

// What the proxy and the agent make of a captured packet: the connection to where it was going.
std::string loop(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  const Outcome first = evaluate(plan, packet);
  if (first.kind != Kind::kRedirected && first.kind != Kind::kTproxied) return {};
  const bool names = plan.dns_port != 0 && first.port == plan.dns_port;
  const bool inbound = at_inbound(plan, first);
  Packet next = packet;
  next.outgoing = true;
  next.state = State::kFirst;
  next.uid = names ? world::kAgent : world::kProxy;
  next.gid = *next.uid;
  next.cgroup = "";
  next.mark = 0;
  if (packet.local) next.interface = "lo";
  if (inbound && scenario.intent.inbound_mode == InboundMode::kTproxy) {
    next.mark = scenario.intent.tproxy.mark;  // with the caller's address
  } else if (inbound) {
    next.source = parse_cidr(packet.destination.family == Family::kIpv4 ? "127.0.0.6" : "::6").value();
  } else if (next.source_port == 22) {
    next.source_port = 50000;
  }
  const Outcome second = evaluate(plan, next);
  if (!touched(second) || (!inbound && !names && at_inbound(plan, second) && packet.local)) return {};
  return told(plan, packet, "captured") + told(plan, next, "and what comes of it again");
}

std::string listener(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  const Intent& intent = scenario.intent;
  const Outcome outcome = evaluate(plan, packet);
  if (!outcome.captured()) return {};
  const bool ipv4 = packet.destination.family == Family::kIpv4;
  if (!(ipv4 ? intent.ipv4 : intent.ipv6)) return told(plan, packet, "nobody listens in this family");
  if (outcome.kind == Kind::kRefused) return intent.refuse ? "" : told(plan, packet, "refused beside a proxy");
  if (intent.refuse) return told(plan, packet, "there is no proxy");
  const bool dns = plan.dns_port != 0 && outcome.port == intent.dns.port;
  if (dns && (packet.destination_port != 53 || !(ipv4 ? intent.dns.ipv4 : intent.dns.ipv6)))
    return told(plan, packet, "the agent doesn't listen there");
  if (!dns && packet.transport != Transport::kTcp) return told(plan, packet, "the proxy speaks TCP");
  const bool outbound = intent.capture_outbound && outcome.port == intent.outbound_port;
  const bool inbound = intent.capture_inbound && outcome.port == intent.inbound_port;
  return dns || outbound || inbound ? "" : told(plan, packet, "nobody listens on this port");
}

std::string families(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  if (!scenario.symmetric || packet.destination.family != Family::kIpv4) return {};
  const bool probe = packet.destination_port == kProbePort;  // the broker's have addresses of their own
  if (probe) return {};
  Packet partner = packet;
  partner.destination = world::in_ipv6(packet.destination);
  partner.source = world::in_ipv6(*packet.source);
  const Outcome ipv4 = evaluate(plan, packet);
  const Outcome ipv6 = evaluate(plan, partner);
  const bool same = ipv4.kind == ipv6.kind && ipv4.port == ipv6.port && ipv4.mark == ipv6.mark &&
                    ipv4.connection_mark == ipv6.connection_mark && ipv4.zone == ipv6.zone;
  return same ? "" : told(plan, packet, "IPv4") + told(plan, partner, "IPv6 differs");
}

std::string nothing_else(const Scenario& /*scenario*/, const Plan& plan, const Packet& packet) {
  if (packet.transport == Transport::kTcp) return {};
  const Outcome outcome = evaluate(plan, packet);
  const bool dns = packet.transport == Transport::kUdp && packet.destination_port == 53;
  if (!touched(outcome) || dns) return {};
  return told(plan, packet, "neither TCP nor a question for a name");
}

std::string meaning(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  const Outcome outcome = evaluate(plan, packet);
  const Expected wanted = expected(scenario, packet);
  if (outcome.kind == wanted.kind && outcome.port == wanted.port) return {};
  return told(plan, packet, std::string("expected: ") + to_string(wanted.kind) + " " + std::to_string(wanted.port));
}

// A program's question and the agent's own, from the same port to the same server, must not be one connection; and both
// answers have to be tracked where the questions were.
std::string zones(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  const bool question = packet.outgoing && packet.transport == Transport::kUdp && packet.destination_port == 53 &&
                        packet.state == State::kFirst;
  if (!question || packet.source_port == 53 || packet.source_port == scenario.intent.dns.port) return {};
  const Outcome asked = evaluate(plan, packet);
  if (asked.kind != Kind::kRedirected) return {};
  Packet own = packet;
  own.uid = own.gid = world::kAgent;
  own.cgroup = "";
  const Outcome upstream = evaluate(plan, own);
  if (upstream.kind != Kind::kLeft) return told(plan, own, "the agent asks itself");
  if (upstream.zone == asked.zone) return told(plan, packet, "one zone for both") + told(plan, own, "");
  return {};
}

Packet answer_to(const Packet& packet) {
  Packet out = packet;
  out.source = packet.destination;
  out.destination = *packet.source;
  out.source_port = packet.destination_port;
  out.destination_port = *packet.source_port;
  out.state = State::kEstablished;
  out.uid = out.gid = 0;
  out.cgroup = "";
  return out;
}

std::string answers(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  const bool question = packet.outgoing && packet.transport == Transport::kUdp && packet.destination_port == 53 &&
                        packet.state == State::kFirst;
  if (!question || plan.dns_port == 0) return {};
  // Of UDP nobody has the address from which the proxy passes calls on.
  if (packet.source->text() == "127.0.0.6" || packet.source->text() == "::6") return {};
  if (packet.source_port == 53 || packet.source_port == scenario.intent.dns.port) return {};
  const Outcome asked = evaluate(plan, packet);
  Packet answer = answer_to(packet);
  answer.outgoing = packet.local;
  answer.local = true;
  answer.interface = packet.local ? "lo" : "eth0";
  if (asked.kind == Kind::kRedirected) {  // the agent's, from the port where it listens
    answer.outgoing = true;
    answer.interface = "lo";
    answer.source_port = plan.dns_port;
    answer.uid = answer.gid = world::kAgent;
  }
  const Outcome answered = evaluate(plan, answer);
  if (answered.zone == asked.zone) return {};
  return told(plan, packet, "asked in zone " + std::to_string(asked.zone)) +
         told(plan, answer, "answered in " + std::to_string(answered.zone));
}

// With TPROXY the proxy calls the program with the caller's address, and the program's answers must reach the proxy.
std::string return_path(const Scenario& scenario, const Plan& plan, const Packet& packet) {
  if (!plan.tproxy || packet.outgoing || evaluate(plan, packet).kind != Kind::kTproxied) return {};
  const std::uint32_t mark = scenario.intent.tproxy.mark;
  Packet call = packet;
  call.outgoing = true;
  call.interface = "lo";
  call.mark = mark;
  call.uid = call.gid = world::kProxy;
  call.cgroup = "";
  const Outcome called = evaluate(plan, call);
  if (called.connection_mark != mark) return told(plan, call, "the connection doesn't keep the mark");
  Packet answer = answer_to(call);
  answer.mark = 0;
  answer.connection_mark = called.connection_mark;
  answer.local = false;
  answer.interface = "eth0";
  const Outcome answered = evaluate(plan, answer);
  if (answered.mark == mark && answered.second_lap && answered.kind == Kind::kLeft) return {};
  return told(plan, answer, "the answer doesn't find back to the proxy");
}

std::string conservative(const Scenario& /*scenario*/, const Plan& plan, const Packet& packet) {
  const bool opening = packet.outgoing && packet.transport == Transport::kTcp && packet.state == State::kFirst;
  if (!opening || packet.mark != 0 || *packet.source == parse_cidr("127.0.0.6").value()) return {};
  const Outcome outcome = evaluate(plan, packet);
  // Rules of TPROXY see every packet: nothing has to be forgotten for them.
  if (!outcome.captured() || outcome.kind == Kind::kTproxied) return {};
  const Opening known{packet.destination, *packet.source_port, packet.destination_port, packet.local};
  return may_capture(plan, known) ? "" : told(plan, packet, "may_capture() doesn't know");
}

}  // namespace

const std::vector<Law>& all() {
  static const std::vector<Law> laws{{"the proxy's and the agent's own traffic is never captured", own_traffic},
                                     {"the never-list never is", never_list},
                                     {"nothing goes in circles", loop},
                                     {"every captured family and port has a listener", listener},
                                     {"IPv6 gets the answer of the equal IPv4", families},
                                     {"nothing but TCP and DNS is touched", nothing_else},
                                     {"what happens is what the configuration means", meaning},
                                     {"a program's question and the agent's are tracked apart", zones},
                                     {"an answer is tracked with its question", answers},
                                     {"answers come back to a transparent proxy", return_path},
                                     {"what may be captured is known to be", conservative}};
  return laws;
}

}  // namespace hawser::netfilter::laws
