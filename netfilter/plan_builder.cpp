// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/plan_builder.h"

namespace hawser::netfilter {
namespace {

constexpr std::uint32_t kSsh = 22;

}  // namespace

std::vector<Cidr> of(Family family, const std::vector<Cidr>& networks) {
  std::vector<Cidr> out;
  for (const Cidr& network : networks)
    if (network.family == family) out.push_back(network);
  return out;
}

bool Builder::wanted(Family family) const {
  return family == Family::kBoth || (family == Family::kIpv4 ? intent_.ipv4 : intent_.ipv6);
}

// What changes a packet is for the families that are captured; to leave one alone does no harm in the other.
void Builder::add(Hook hook, Purpose purpose, Match match, Action action) {
  const bool changes = action.kind != Action::Kind::kLeave;
  if (changes && match.family == Family::kBoth && intent_.ipv4 != intent_.ipv6)
    match.family = intent_.ipv4 ? Family::kIpv4 : Family::kIpv6;
  if (wanted(match.family)) rules_.push_back({hook, purpose, std::move(match), action});
}

void Builder::capture(Hook hook, Purpose purpose, Match match, std::uint32_t port) {
  if (intent_.refuse && purpose == Purpose::kProbe) return;
  match.protocol = Protocol::kTcp;
  Action action;
  if (intent_.refuse) {
    action.kind = Action::Kind::kRefuse;
  } else {
    action.kind = Action::Kind::kRedirect;
    action.port = static_cast<std::uint16_t>(port);
  }
  add(hook, purpose, std::move(match), action);
}

void Builder::add_owner(Hook hook, Purpose purpose, const Match& match, const Owner& owner, Action action) {
  const auto with = [&](auto Match::*part, const auto& values) {
    if (values.empty()) return;
    Match owned = match;
    owned.*part = values;
    add(hook, purpose, std::move(owned), action);
  };
  with(&Match::uids, owner.uids);
  with(&Match::gids, owner.gids);
  with(&Match::cgroups, owner.cgroups);
  with(&Match::marks, owner.marks);
}

void Builder::leave_networks(Hook hook, Purpose purpose, const std::vector<Cidr>& networks,
                             const std::vector<PortRange>& ports) {
  for (const Family family : kFamilies) {
    Match match;
    match.family = family;
    match.destination_ports = ports;
    if (!ports.empty()) match.protocol = Protocol::kTcp;
    match.destinations = of(family, networks);
    if (!match.destinations.empty()) leave(hook, purpose, std::move(match));
  }
}

void Builder::leave_ports(Hook hook, Purpose purpose, const std::vector<PortRange>& ports) {
  if (ports.empty()) return;
  Match match = with_protocol(Protocol::kTcp);
  match.destination_ports = ports;
  leave(hook, purpose, std::move(match));
}

Match on_interface(const std::string& name) {
  Match match;
  match.interfaces = {name};
  return match;
}

Match with_protocol(Protocol protocol) {
  Match match;
  match.protocol = protocol;
  return match;
}

// Connections that are older than the rules: the kernel's tracking, which starts with the rules, takes their next
// packet for the first one, in either direction, and a redirect would break them.
Match midstream() {
  Match match = with_protocol(Protocol::kTcp);
  match.midstream = true;
  return match;
}

void add_ssh(Builder& builder, Hook hook) {
  const std::vector<PortRange> standard{{kSsh, kSsh}};
  const std::vector<PortRange>& here = builder.parts().ssh_ports;
  // Outgoing SSH goes to 22; a port where sshd happens to listen here says nothing about other hosts' port of that
  // number.
  builder.leave_ports(hook, Purpose::kSsh, outgoing(hook) ? standard : here);
  Match replies = with_protocol(Protocol::kTcp);
  replies.source_ports = outgoing(hook) ? here : standard;
  builder.leave(hook, Purpose::kSsh, std::move(replies));
}

void add_interfaces(Builder& builder, Hook hook) {
  if (builder.parts().exclude_interfaces.empty()) return;
  Match match;
  match.interfaces = builder.parts().exclude_interfaces;
  builder.leave(hook, Purpose::kInterface, std::move(match));
}

}  // namespace hawser::netfilter
