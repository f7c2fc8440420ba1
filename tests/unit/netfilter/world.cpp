// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "world.h"

#include <map>
#include <ostream>

namespace hawser::netfilter::world {
namespace {

using Texts = std::vector<std::string>;
using Ports = std::vector<std::uint16_t>;

const Texts kNetworks{"10.0.0.0/24", "10.0.1.0/24", "10.0.0.0/23", "10.0.2.0/31", "10.0.3.0/24", "10.0.3.3"};
const Texts kElsewhere{"10.0.0.1", "10.0.0.200", "10.0.1.1",        "10.0.2.1", "10.0.3.3",
                       "10.0.3.9", "10.0.0.53",  "169.254.169.254", "10.9.0.1", "10.9.0.53"};
const Texts kHere{"10.0.0.9", "10.0.1.9", "127.0.0.1", "127.0.0.6", "127.0.0.53"};
const Texts kServers{"10.0.0.53", "10.9.0.53", "127.0.0.53"};
const Ports kPorts{22, 53, 67, 80, 443, 2222, 3306, 8080, 9100, 15001, 15006, 15008, 15009, 15020, 15053, 40000};
const std::vector<std::uint32_t> kUids{kAgent, kProxy, kResolver, 0, 900, 1000, 1001};
const std::vector<std::uint32_t> kGids{kAgent, kProxy, kResolver, 0, 901, 1000, 2000, 2001};
const Texts kCgroups{"", "user.slice", "system.slice/app.service", "system.slice/backup.service/worker"};
const std::vector<std::uint32_t> kMarks{0, 0, 0, 0x100, 0x177};
const std::vector<std::uint32_t> kProxysMarks{0, 0, 0x539, 0x53a};  // TPROXY's

std::vector<PortRange> draw_ranges(Draw& draw, std::size_t most) {
  std::vector<PortRange> out;
  for (const std::uint16_t first : draw.some(kPorts, most)) out.push_back({first, draw.coin(4) ? first + 400U : first});
  return out;
}

// Of symmetric scenarios each address comes with its partner.
Texts draw_addresses(Draw& draw, const Texts& from, std::size_t most, bool symmetric) {
  Texts out;
  for (const std::string& address : draw.some(from, most)) {
    const bool partner = draw.coin();
    if (symmetric || !partner) out.push_back(address);
    if (symmetric || partner) out.push_back(in_ipv6(address));
  }
  return out;
}

void draw_owners(Draw& draw, Intent& out) {
  out.exempt_uids = {kAgent, kProxy};
  if (draw.coin(4)) out.exempt_uids.push_back(draw.coin() ? IdRange(900) : IdRange(890, 910));
  if (draw.coin()) out.exempt_gids.push_back(kProxy);
  if (draw.coin(4)) out.exempt_gids.push_back(901);
  if (draw.coin(4)) out.exempt_cgroups = {"system.slice/backup.service"};
  if (draw.coin(4)) out.exempt_marks = {{0x100, 0xf00}};
  if (draw.coin(6)) out.groups_include = {1000, 2000};
  if (draw.coin(6)) out.groups_exclude = {2001};
  if (draw.coin(4))
    out.user_ports = {{{draw.coin() ? IdRange(1001) : IdRange(1001, 1100)},
                       draw_ranges(draw, 2),
                       draw.pick<Protocol>({Protocol::kTcp, Protocol::kUdp, Protocol::kAny})}};
  out.self_call = !draw.coin(4);
  out.proxy.uids = {kProxy};
  if (draw.coin()) out.proxy.gids = {kProxy};
}

void draw_dns(Draw& draw, Scenario& out) {
  Dns& dns = out.intent.dns;
  dns.capture = draw.pick<Dns::Capture>({Dns::Capture::kOff, Dns::Capture::kResolvers, Dns::Capture::kAll});
  dns.ipv4 = out.symmetric || !draw.coin(4);
  dns.ipv6 = out.symmetric || draw.coin();
  dns.agent.uids = {kAgent};
  dns.resolvers = draw_addresses(draw, kServers, 2, out.symmetric);
  if (draw.coin()) dns.host_resolver.uids = {kResolver};
  out.guard.resolvers = draw_addresses(draw, kServers, 2, out.symmetric);
}

void draw_inbound(Draw& draw, Intent& out) {
  if (draw.coin(3)) out.inbound_mode = InboundMode::kTproxy;
  out.inbound_ports = draw_ranges(draw, 3);
  if (draw.coin(4)) out.services = {{"one", {{8080, 8080}}}, {"two", {{3306, 3306}, {80, 80}}}};
  out.inbound_exclude = draw_ranges(draw, 2);
  if (draw.coin()) out.hbone_port = 15008;
  out.drop_invalid = draw.coin(3);
}

Packet draw_outgoing(Draw& draw, bool ipv6) {
  Packet out;
  out.local = draw.coin(3);
  const std::string to = draw.pick(out.local ? kHere : kElsewhere);
  const std::string from = out.local ? draw.pick<std::string>({to, "10.0.0.9", "127.0.0.1", "127.0.0.6"}) : "10.0.0.9";
  out.destination = parse_cidr(ipv6 ? in_ipv6(to) : to).value();
  out.source = parse_cidr(ipv6 ? in_ipv6(from) : from).value();
  out.interface = out.local ? "lo" : draw.pick<std::string>({"eth0", "eth1", "docker0"});
  out.uid = draw.pick(kUids);
  out.gid = draw.pick(kGids);
  out.cgroup = draw.pick(kCgroups);
  out.mark = draw.pick(out.uid == kProxy ? kProxysMarks : kMarks);
  return out;
}

Packet draw_incoming(Draw& draw, bool ipv6) {
  Packet out;
  out.outgoing = false;
  out.local = !draw.coin(6);
  const std::string to = out.local ? draw.pick<std::string>({"10.0.0.9", "10.0.1.9"}) : draw.pick(kElsewhere);
  const std::string from = draw.pick(kElsewhere);
  out.destination = parse_cidr(ipv6 ? in_ipv6(to) : to).value();
  out.source = parse_cidr(ipv6 ? in_ipv6(from) : from).value();
  out.interface = draw.pick<std::string>({"eth0", "eth1", "docker0", kProbeInterface});
  return out;
}

}  // namespace

std::string in_ipv6(const std::string& ipv4) {
  static const std::map<std::string, std::string> partners{
      {"127.0.0.1", "::1"}, {"127.0.0.6", "::6"}, {"127.0.0.53", "::53"}, {"169.254.169.254", "fd00:ec2::254"}};
  if (const auto found = partners.find(ipv4); found != partners.end()) return found->second;
  return in_ipv6(parse_cidr(ipv4).value()).text();
}

Cidr in_ipv6(const Cidr& ipv4) {
  if (ipv4.prefix == 32 && (ipv4.bytes[0] == 127 || ipv4.bytes[0] == 169))
    return parse_cidr(in_ipv6(ipv4.text())).value();
  Cidr out = parse_cidr("fd77::").value();
  for (std::size_t i = 0; i < 4; ++i) out.bytes[2 + i] = ipv4.bytes[i];
  out.prefix = ipv4.prefix == 32 ? 128 : 16 + ipv4.prefix;
  return out;
}

Scenario draw_scenario(Draw& draw) {
  Scenario out;
  Intent& intent = out.intent;
  out.symmetric = draw.coin();
  intent.ipv4 = out.symmetric || !draw.coin(4);
  intent.ipv6 = out.symmetric || !intent.ipv4 || draw.coin();
  intent.capture_outbound = !draw.coin(6);
  intent.capture_inbound = !intent.capture_outbound || !draw.coin(4);
  intent.refuse = draw.coin(8);
  draw_owners(draw, intent);
  draw_inbound(draw, intent);
  draw_dns(draw, out);
  if (draw.coin(4)) intent.outbound_ports = draw_ranges(draw, 3);
  if (draw.coin(4)) intent.outbound_cidrs = draw_addresses(draw, kNetworks, 3, out.symmetric);
  intent.outbound_exclude = draw_ranges(draw, 2);
  intent.outbound_exclude_cidrs = draw_addresses(draw, kNetworks, 2, out.symmetric);
  if (draw.coin(4)) intent.exclude_interfaces = {draw.pick<std::string>({"eth1", "docker*"})};
  const std::uint32_t plane_port = draw.pick<std::uint32_t>({443, 0});
  for (const std::string& address : draw_addresses(draw, {"10.0.3.3", "10.0.3.9"}, 1, out.symmetric))
    intent.never.push_back({address, plane_port});
  intent.probe_uid = kAgent;
  const std::uint32_t program_port = draw.pick<std::uint32_t>({8080, 80});
  for (const std::string& address : draw_addresses(draw, {"10.0.0.9"}, 1, out.symmetric))
    intent.own_probes.push_back({address, program_port});
  if (draw.coin()) out.guard.ssh_ports = {2222};
  return out;
}

Packet draw_packet(Draw& draw, const Scenario& /*scenario*/) {
  const bool ipv6 = draw.coin();
  Packet out = draw.coin(3) ? draw_incoming(draw, ipv6) : draw_outgoing(draw, ipv6);
  out.transport = draw.coin(4) ? Transport::kUdp : draw.coin(12) ? Transport::kOther : Transport::kTcp;
  out.destination_port = draw.coin(4) ? std::uint16_t{53} : draw.pick(kPorts);
  out.source_port = draw.coin(6) ? draw.pick(kPorts) : std::uint16_t{50000};
  if (draw.coin(4))
    out.state = out.transport == Transport::kTcp
                    ? draw.pick<State>({State::kMidstream, State::kEstablished, State::kInvalid})
                    : State::kEstablished;
  // TPROXY's, of the proxy's connections to programs, whose answers come back in them.
  if (out.state == State::kEstablished && out.uid != kProxy && draw.coin()) out.connection_mark = 0x539;
  return out;
}

std::ostream& operator<<(std::ostream& out, const Scenario& scenario) {
  const auto plan = compile(scenario.intent, scenario.guard);
  if (!plan) return out << plan.error().to_string() << '\n';
  const Intent& intent = scenario.intent;
  out << (scenario.symmetric ? "symmetric " : "") << (intent.self_call ? "self_call " : "")
      << (intent.refuse ? "refuse " : "") << (intent.inbound_mode == InboundMode::kTproxy ? "tproxy\n" : "redirect\n");
  for (const Rule& rule : plan->rules) out << "  " << to_string(rule) << '\n';
  return out;
}

}  // namespace hawser::netfilter::world
