// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// DNS goes to the agent, in those families where the agent answers and there are servers that programs ask.
//
// Both the program and the agent may ask one server from the same source port, of which connection tracking would make
// one connection, and send the agent's question to the agent. So they are tracked in different zones, for UDP; a TCP
// connection is its own.
#include "netfilter/plan_builder.h"

namespace hawser::netfilter {
namespace {

// To the servers whose names are captured, or from them. Without a list, all.
Match about(const Builder& builder, Family family, Protocol protocol, std::vector<Cidr> Match::*address,
            std::vector<PortRange> Match::*port) {
  Match match = with_protocol(protocol);
  match.family = family;
  match.*address = of(family, builder.parts().resolvers);
  match.*port = {{kDnsServer, kDnsServer}};
  return match;
}

Match to_server(const Builder& builder, Family family, Protocol protocol) {
  return about(builder, family, protocol, &Match::destinations, &Match::destination_ports);
}
Match from_server(const Builder& builder, Family family) {
  return about(builder, family, Protocol::kUdp, &Match::sources, &Match::source_ports);
}

Action zone(std::uint16_t number) {
  Action action{Action::Kind::kZone};
  action.zone = number;
  return action;
}

// Who isn't captured gets its answer in the zone in which it asked.
void add_direct(Builder& builder, Family family) {
  constexpr Hook hook = Hook::kRawOutput;
  const Parts& parts = builder.parts();
  const Match question = to_server(builder, family, Protocol::kUdp);
  const Action direct = zone(kUpstreamZone);
  builder.add_owner(hook, Purpose::kDnsZone, question, parts.exempt, direct);
  builder.add_owner(hook, Purpose::kDnsZone, question, parts.asks_upstream, direct);
  builder.add_owner(hook, Purpose::kDnsZone, question, {{}, parts.groups_exclude, {}, {}}, direct);
  if (!parts.groups_include.empty()) {
    Match others = question;
    others.not_gids = parts.groups_include;
    builder.add(hook, Purpose::kDnsZone, std::move(others), direct);
  }
  for (const UserPorts& item : parts.user_ports)
    if (item.protocol != Protocol::kTcp)
      builder.add_owner(hook, Purpose::kDnsZone, question, {item.uids, {}, {}, {}}, direct);
}

void add_zones(Builder& builder, Family family) {
  constexpr Hook hook = Hook::kRawOutput;
  Match answer = on_interface("lo");
  answer.family = family;
  answer.protocol = Protocol::kUdp;
  answer.source_ports = {{builder.intent().dns.port, builder.intent().dns.port}};
  builder.add(hook, Purpose::kDnsZone, std::move(answer), zone(kCapturedZone));
  add_direct(builder, family);
  builder.add(hook, Purpose::kDnsZone, to_server(builder, family, Protocol::kUdp), zone(kCapturedZone));
  Match local_server = from_server(builder, family);
  local_server.interfaces = {"lo"};
  builder.add(hook, Purpose::kDnsZone, std::move(local_server), zone(kUpstreamZone));
  builder.add(Hook::kRawPrerouting, Purpose::kDnsZone, from_server(builder, family), zone(kUpstreamZone));
}

}  // namespace

void add_dns(Builder& builder) {
  if (builder.parts().dns_families.empty()) return;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    Match question = with_protocol(protocol);
    question.destination_ports = {{kDnsServer, kDnsServer}};
    builder.add_owner(Hook::kOutput, Purpose::kResolver, question, builder.parts().asks_upstream, {});
  }
  Action to_agent{Action::Kind::kRedirect, static_cast<std::uint16_t>(builder.intent().dns.port)};
  for (const Family family : builder.parts().dns_families)
    for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp})
      builder.add(Hook::kOutput, Purpose::kDns, to_server(builder, family, protocol), to_agent);
}

void add_dns_zones(Builder& builder) {
  for (const Family family : builder.parts().dns_families) add_zones(builder, family);
}

}  // namespace hawser::netfilter
