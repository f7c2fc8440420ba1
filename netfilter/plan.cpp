// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/plan.h"

#include <sha2.h>

#include <algorithm>

namespace hawser::netfilter {
namespace {

constexpr std::uint32_t kSsh = 22;
constexpr std::size_t kMaxPorts = 256;
constexpr std::size_t kMaxCidrs = 1024;
constexpr std::size_t kMaxNever = 64;
constexpr std::size_t kMaxOwnProbes = 128;
constexpr std::size_t kMaxOwners = 32;

// Link-local (the metadata address 169.254.169.254 of nearly all clouds and its relatives), Azure's and Alibaba's
// own; in IPv6 link-local, EC2's and GCE's.
constexpr const char* kMetadata[] = {"169.254.0.0/16", "168.63.129.16", "100.100.100.200",
                                     "fe80::/10",      "fd00:ec2::254", "fd20:ce::254"};

// Envoy's and hawserd's static listeners have to answer probes by themselves.
constexpr std::uint32_t kStaticPorts[] = {15020, 15021, 15090};

std::vector<std::uint32_t> sorted(std::vector<std::uint32_t> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

Status check_count(std::size_t count, std::size_t limit, const std::string& what) {
  if (count <= limit) return {};
  return Error(Code::kResourceExhausted, "HWS-NF-007",
               what + ": " + std::to_string(count) + " entries, at most " + std::to_string(limit),
               "summarise them in fewer, larger ranges");
}

Status check_counts(const Intent& intent) {
  if (auto s = check_count(intent.inbound_ports.size(), kMaxPorts, "inbound ports"); !s) return s;
  if (auto s = check_count(intent.inbound_exclude.size(), kMaxPorts, "excluded inbound ports"); !s) return s;
  if (auto s = check_count(intent.outbound_exclude.size(), kMaxPorts, "excluded outbound ports"); !s) return s;
  if (auto s = check_count(intent.outbound_exclude_cidrs.size(), kMaxCidrs, "excluded networks"); !s) return s;
  if (auto s = check_count(intent.never.size(), kMaxNever, "never-captured endpoints"); !s) return s;
  if (auto s = check_count(intent.own_probes.size(), kMaxOwnProbes, "probes of own services"); !s) return s;
  if (auto s = check_count(intent.exempt_uids.size(), kMaxOwners, "exempt users"); !s) return s;
  return check_count(intent.exempt_gids.size(), kMaxOwners, "exempt groups");
}

Status check(const Intent& intent) {
  if ((!intent.capture_outbound && !intent.capture_inbound) || (!intent.ipv4 && !intent.ipv6))
    return Error(Code::kInvalidArgument, "HWS-NF-005", "nothing would be intercepted",
                 "capture at least one direction in one IP family, or remove the interception");
  if (intent.exempt_uids.empty())
    return Error(Code::kInvalidArgument, "HWS-NF-004", "no user is exempt, so the proxy's own traffic would loop",
                 "exempt the proxy's and the agent's uid");
  if (auto s = check_port(intent.outbound_port, "outbound port"); !s) return s;
  if (auto s = check_port(intent.inbound_port, "inbound port"); !s) return s;
  if (intent.outbound_port == intent.inbound_port)
    return Error(Code::kInvalidArgument, "HWS-NF-006",
                 "outbound and inbound port are both " + std::to_string(intent.inbound_port),
                 "use two different ports");
  return check_counts(intent);
}

// Adds rules in order, leaves out families that aren't intercepted.
class Builder {
 public:
  Builder(const Intent& intent, std::vector<Rule>& rules) : intent_(intent), rules_(rules) {}

  void add(Hook hook, Purpose purpose, Match match, std::uint32_t redirect_to = 0) {
    if (!wanted(match.family)) return;
    Action action;
    if (redirect_to != 0) {
      action = {Action::Kind::kRedirect, static_cast<std::uint16_t>(redirect_to)};
      match.protocol = Protocol::kTcp;
      if (intent_.refuse) {
        if (purpose == Purpose::kProbe) return;
        action = {Action::Kind::kRefuse};
      }
    }
    rules_.push_back({hook, purpose, std::move(match), action});
  }

  // One rule per family, since an nftables set holds one type.
  void add_networks(Hook hook, Purpose purpose, const std::vector<Cidr>& networks,
                    const std::vector<PortRange>& ports = {}) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      Match match;
      match.family = family;
      match.destination_ports = ports;
      if (!ports.empty()) match.protocol = Protocol::kTcp;
      for (const Cidr& network : networks)
        if (network.family == family) match.destinations.push_back(network);
      if (!match.destinations.empty()) add(hook, purpose, std::move(match));
    }
  }

  // Whatever came so far wasn't for us: the rest goes to the proxy, in each family that has a listener.
  void add_redirect(Hook hook, const std::vector<PortRange>& ports, std::uint32_t to) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      Match match;
      match.family = family;
      match.destination_ports = ports;
      add(hook, Purpose::kRedirect, std::move(match), to);
    }
  }

  void add_ports(Hook hook, Purpose purpose, std::vector<PortRange> ports) {
    if (ports.empty()) return;
    Match match;
    match.protocol = Protocol::kTcp;
    match.destination_ports = std::move(ports);
    add(hook, purpose, std::move(match));
  }

 private:
  bool wanted(Family family) const {
    return family == Family::kBoth || (family == Family::kIpv4 ? intent_.ipv4 : intent_.ipv6);
  }

  const Intent& intent_;
  std::vector<Rule>& rules_;
};

Match probe_match(Family family, const char* address) {
  Match match;
  match.family = family;
  match.destinations = {parse_cidr(address).value()};
  match.destination_ports = {{kProbePort, kProbePort}};
  return match;
}

Match not_tcp() {
  Match match;
  match.protocol = Protocol::kNotTcp;
  return match;
}

// Connections that are older than the rules: the kernel's tracking, which starts with the rules, takes their next
// packet for the first one, in either direction, and a redirect would break them.
Match midstream() {
  Match match;
  match.protocol = Protocol::kTcp;
  match.midstream = true;
  return match;
}

Match on_interface(const char* name) {
  Match match;
  match.interfaces = {name};
  return match;
}

// Ports of sshd in a form that can be matched: 22 always, others as observed.
std::vector<PortRange> ssh_ports(const Guard& guard) {
  std::vector<PortRange> ports{{kSsh, kSsh}};
  for (const std::uint16_t port : guard.ssh_ports)
    if (port != 0) ports.push_back({port, port});
  return normalised(std::move(ports), "SSH port").value();
}

void add_ssh(Builder& builder, Hook hook, const Guard& guard) {
  const auto listening = ssh_ports(guard);
  // Outgoing SSH goes to 22; a port where sshd happens to listen here says nothing about other hosts' port of that
  // number.
  builder.add_ports(hook, Purpose::kSsh, hook == Hook::kPrerouting ? listening : std::vector<PortRange>{{kSsh, kSsh}});
  Match replies;
  replies.protocol = Protocol::kTcp;
  replies.source_ports = hook == Hook::kOutput ? listening : std::vector<PortRange>{{kSsh, kSsh}};
  builder.add(hook, Purpose::kSsh, std::move(replies));
}

std::vector<Cidr> metadata_networks() {
  std::vector<Cidr> networks;
  for (const char* network : kMetadata) networks.push_back(parse_cidr(network).value());
  return networks;
}

Status add_control_plane(Builder& builder, const std::vector<Endpoint>& never) {
  for (const Endpoint& endpoint : never) {
    auto address = parse_cidr(endpoint.address);
    if (!address) return address.error();
    std::vector<PortRange> ports;
    if (endpoint.port != 0) {
      if (auto s = check_port(endpoint.port, "never-captured endpoint " + endpoint.address); !s) return s;
      ports.push_back({endpoint.port, endpoint.port});
    }
    builder.add_networks(Hook::kOutput, Purpose::kControlPlane, {*address}, ports);
  }
  return {};
}

// A local connection never meets PREROUTING, so these are sent to the proxy here. They can't go in circles: what the
// proxy makes of them is of its own uid.
Status add_own_probes(Builder& builder, const Intent& intent) {
  if (!intent.capture_inbound || intent.probe_uid == 0) return {};
  for (const Endpoint& endpoint : intent.own_probes) {
    auto address = parse_cidr(endpoint.address);
    if (!address) return address.error();
    if (auto s = check_port(endpoint.port, "probe of " + endpoint.address); !s) return s;
    Match match;
    match.family = address->family;
    match.destinations = {*address};
    match.destination_ports = {{endpoint.port, endpoint.port}};
    match.uids = {intent.probe_uid};
    builder.add(Hook::kOutput, Purpose::kOwnProbe, std::move(match), intent.inbound_port);
  }
  return {};
}

Status add_output(Builder& builder, const Intent& intent, const Guard& guard) {
  constexpr Hook hook = Hook::kOutput;
  auto excluded_ports = normalised(intent.outbound_exclude, "excluded outbound port");
  if (!excluded_ports) return excluded_ports.error();
  std::vector<Cidr> excluded;
  for (const std::string& text : intent.outbound_exclude_cidrs) {
    auto cidr = parse_cidr(text);
    if (!cidr) return cidr.error();
    excluded.push_back(*cidr);
  }
  if (auto s = add_own_probes(builder, intent); !s) return s;
  // The proxy's and the agent's own traffic first, also before the probe: a proxy that passes the probe's connection on
  // to its original destination would be sent back to itself, without end.
  Match users;
  users.uids = sorted(intent.exempt_uids);
  builder.add(hook, Purpose::kExemptUser, std::move(users));
  if (!intent.exempt_gids.empty()) {
    Match groups;
    groups.gids = sorted(intent.exempt_gids);
    builder.add(hook, Purpose::kExemptGroup, std::move(groups));
  }
  // The probe comes before the exemption of loopback, else it would prove nothing.
  builder.add(hook, Purpose::kProbe, probe_match(Family::kIpv4, kProbeAddress4), intent.outbound_port);
  builder.add(hook, Purpose::kProbe, probe_match(Family::kIpv6, kProbeAddress6), intent.outbound_port);
  builder.add(hook, Purpose::kNotTcp, not_tcp());  // DHCP, DNS over UDP, everything else
  builder.add(hook, Purpose::kMidstream, midstream());
  add_ssh(builder, hook, guard);
  builder.add_networks(hook, Purpose::kMetadata, metadata_networks());
  if (auto s = add_control_plane(builder, intent.never); !s) return s;
  builder.add(hook, Purpose::kLoopback, on_interface("lo"));
  builder.add_ports(hook, Purpose::kExcludedPort, *excluded_ports);
  builder.add_networks(hook, Purpose::kExcludedCidr, normalised(std::move(excluded)));
  builder.add_redirect(hook, {}, intent.outbound_port);
  return {};
}

Status add_prerouting(Builder& builder, const Intent& intent, const Guard& guard) {
  constexpr Hook hook = Hook::kPrerouting;
  auto captured = normalised(intent.inbound_ports, "inbound port");
  if (!captured) return captured.error();
  auto excluded = normalised(intent.inbound_exclude, "excluded inbound port");
  if (!excluded) return excluded.error();
  std::vector<PortRange> own{{intent.outbound_port, intent.outbound_port}, {intent.inbound_port, intent.inbound_port}};
  for (const std::uint32_t port : kStaticPorts) own.push_back({port, port});

  Match probe = on_interface(kProbeInterface);
  probe.family = Family::kIpv4;
  probe.destination_ports = {{kProbePort, kProbePort}};
  builder.add(hook, Purpose::kProbe, std::move(probe), intent.inbound_port);
  builder.add(hook, Purpose::kNotTcp, not_tcp());
  builder.add(hook, Purpose::kMidstream, midstream());
  builder.add(hook, Purpose::kLoopback, on_interface("lo"));
  Match transit;
  transit.not_local = true;  // what a router, or a host of containers, forwards isn't this workload's
  builder.add(hook, Purpose::kTransit, std::move(transit));
  add_ssh(builder, hook, guard);
  builder.add_networks(hook, Purpose::kMetadata, metadata_networks());
  builder.add_ports(hook, Purpose::kOwnPort, normalised(std::move(own), "own port").value());
  builder.add_ports(hook, Purpose::kExcludedPort, *excluded);
  builder.add_redirect(hook, *captured, intent.inbound_port);
  return {};
}

std::string digest_of(const std::vector<Rule>& rules) {
  std::string text;
  for (const Rule& rule : rules) text += to_string(rule) + "\n";
  char hex[SHA256_DIGEST_STRING_LENGTH] = {};
  ::SHA256Data(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), hex);
  return hex;
}

}  // namespace

Result<Plan> compile(const Intent& intent, const Guard& guard) {
  if (auto valid = check(intent); !valid) return valid.error();
  Plan plan;
  Builder builder(intent, plan.rules);
  if (intent.capture_outbound) {
    if (auto s = add_output(builder, intent, guard); !s) return s.error();
  }
  if (intent.capture_inbound) {
    if (auto s = add_prerouting(builder, intent, guard); !s) return s.error();
  }
  plan.outbound = intent.capture_outbound;
  plan.inbound = intent.capture_inbound;
  plan.ipv4 = intent.ipv4;
  plan.ipv6 = intent.ipv6;
  plan.outbound_port = static_cast<std::uint16_t>(intent.outbound_port);
  plan.inbound_port = static_cast<std::uint16_t>(intent.inbound_port);
  plan.digest = digest_of(plan.rules);
  return plan;
}

}  // namespace hawser::netfilter
