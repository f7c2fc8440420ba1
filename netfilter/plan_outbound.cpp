// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// What programs of this host open.
#include <algorithm>

#include "netfilter/plan_builder.h"

namespace hawser::netfilter {
namespace {

constexpr Hook kHook = Hook::kOutput;

Match probe_match(Family family, const char* address) {
  Match match;
  match.family = family;
  match.destinations = {parse_cidr(address).value()};
  match.destination_ports = {{kProbePort, kProbePort}};
  return match;
}

void leave_owner(Builder& builder, Purpose purpose, const Owner& owner) {
  builder.add_owner(kHook, purpose, {}, owner, {});
}

// The proxy's and the agent's own traffic first, also before the probe: a proxy that passes the probe's connection on
// to its original destination would be sent back to itself, without end.
void add_exemptions(Builder& builder) {
  const Owner& exempt = builder.parts().exempt;
  leave_owner(builder, Purpose::kExemptUser, {exempt.uids, {}, {}, {}});
  leave_owner(builder, Purpose::kExemptGroup, {{}, exempt.gids, {}, {}});
  leave_owner(builder, Purpose::kExemptCgroup, {{}, {}, exempt.cgroups, {}});
  leave_owner(builder, Purpose::kExemptMark, {{}, {}, {}, exempt.marks});
}

// Before DNS: who isn't captured has no use for names that lead to addresses which only the proxy knows.
void add_groups(Builder& builder) {
  const Parts& parts = builder.parts();
  if (!parts.groups_exclude.empty()) {
    Match match;
    match.gids = parts.groups_exclude;
    builder.leave(kHook, Purpose::kGroup, std::move(match));
  }
  if (!parts.groups_include.empty()) {
    Match match;
    match.not_gids = parts.groups_include;
    builder.leave(kHook, Purpose::kGroup, std::move(match));
  }
}

void add_user_ports(Builder& builder) {
  for (const UserPorts& item : builder.parts().user_ports) {
    Match match = with_protocol(item.protocol);
    match.uids = item.uids;
    match.destination_ports = item.ports;
    builder.leave(kHook, Purpose::kUserPort, std::move(match));
  }
}

// What either list has is included.
void add_included(Builder& builder) {
  const Parts& parts = builder.parts();
  if (parts.outbound_cidrs.empty() && parts.outbound_ports.empty()) return;
  for (const Family family : kFamilies) {
    Match match = with_protocol(Protocol::kTcp);
    match.family = family;
    match.not_destinations = of(family, parts.outbound_cidrs);
    match.not_destination_ports = parts.outbound_ports;
    builder.leave(kHook, Purpose::kNotIncluded, std::move(match));
  }
}

// Without a proxy there's nobody whose calls these were.
bool self_calls_here(const Builder& builder) {
  return !builder.parts().tproxy && !builder.intent().refuse;
}

}  // namespace

// A local connection never meets PREROUTING, so these are sent to the proxy here. They can't go in circles: what the
// proxy makes of them is of its own uid.
void add_own_probes(Builder& builder, Hook hook, Action action) {
  for (const Never& probe : builder.parts().own_probes) {
    Match match = with_protocol(Protocol::kTcp);
    match.family = probe.address.family;
    match.destinations = {probe.address};
    match.destination_ports = probe.ports;
    match.uids = {builder.intent().probe_uid};
    builder.add(hook, Purpose::kOwnProbe, std::move(match), action);
  }
}

// A call that the proxy balances to its own host is somebody's call as any other: the inbound listener has to see who
// calls. What the inbound listener passes on would come back here, though, and has an address of its own therefore.
void add_self_call(Builder& builder, Hook hook, Action action) {
  if (!builder.parts().self_call) return;
  const Parts& parts = builder.parts();
  for (const char* address : {"127.0.0.6", "::6"}) {
    Match passed_on = on_interface("lo");
    passed_on.sources = {parse_cidr(address).value()};
    passed_on.family = passed_on.sources.front().family;
    builder.leave(hook, Purpose::kPassthrough, std::move(passed_on));
  }
  Match older = midstream();
  older.interfaces = {"lo"};
  if (hook == kHook) builder.leave(hook, Purpose::kMidstream, std::move(older));
  for (const Family family : kFamilies) {
    Match match = on_interface("lo");
    match.family = family;
    match.protocol = Protocol::kTcp;
    match.not_destinations = of(family, parts.metadata);
    match.not_destinations.push_back(parse_cidr(family == Family::kIpv4 ? "127.0.0.1" : "::1").value());
    for (const Never& never : parts.never)
      if (never.address.family == family) match.not_destinations.push_back(never.address);
    match.not_destinations = normalised(std::move(match.not_destinations));
    // As a call from elsewhere, of which inbound captures these alone.
    match.destination_ports = parts.inbound_ports;
    match.not_destination_ports = parts.own_ports;
    const auto but = [&match](const std::vector<PortRange>& ports) {
      match.not_destination_ports.insert(match.not_destination_ports.end(), ports.begin(), ports.end());
    };
    but(parts.ssh_ports);
    but(parts.inbound_exclude);
    if (builder.intent().hbone_port != 0) but({{builder.intent().hbone_port, builder.intent().hbone_port}});
    if (!parts.dns_families.empty()) but({{kDnsServer, kDnsServer}});
    match.not_destination_ports = normalised(std::move(match.not_destination_ports), "port").value();
    builder.add_owner(hook, Purpose::kSelfCall, match, parts.proxy, action);
  }
}

void add_output(Builder& builder) {
  const Intent& intent = builder.intent();
  const Parts& parts = builder.parts();
  Action to_inbound{Action::Kind::kRedirect, static_cast<std::uint16_t>(intent.inbound_port)};
  if (intent.refuse) to_inbound = {Action::Kind::kRefuse};
  if (!parts.tproxy) add_own_probes(builder, kHook, to_inbound);
  if (self_calls_here(builder)) add_self_call(builder, kHook, to_inbound);
  add_exemptions(builder);
  // The probe comes before the exemption of loopback, else it would prove nothing.
  builder.capture(kHook, Purpose::kProbe, probe_match(Family::kIpv4, kProbeAddress4), intent.outbound_port);
  builder.capture(kHook, Purpose::kProbe, probe_match(Family::kIpv6, kProbeAddress6), intent.outbound_port);
  add_groups(builder);
  add_user_ports(builder);
  add_dns(builder);
  builder.leave(kHook, Purpose::kNotTcp, with_protocol(Protocol::kNotTcp));  // DHCP and everything else
  builder.leave(kHook, Purpose::kMidstream, midstream());
  add_ssh(builder, kHook);
  builder.leave_networks(kHook, Purpose::kMetadata, parts.metadata);
  for (const Never& never : parts.never)
    builder.leave_networks(kHook, Purpose::kControlPlane, {never.address}, never.ports);
  add_interfaces(builder, kHook);
  builder.leave(kHook, Purpose::kLoopback, on_interface("lo"));
  builder.leave_ports(kHook, Purpose::kExcludedPort, parts.outbound_exclude);
  builder.leave_networks(kHook, Purpose::kExcludedCidr, parts.outbound_exclude_cidrs);
  add_included(builder);
  for (const Family family : kFamilies) {
    Match match;
    match.family = family;
    builder.capture(kHook, Purpose::kRedirect, std::move(match), intent.outbound_port);
  }
}

}  // namespace hawser::netfilter
