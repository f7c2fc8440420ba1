// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include <algorithm>

#include "netfilter/plan_builder.h"

namespace hawser::netfilter {
namespace {

// Link-local (the metadata address 169.254.169.254 of nearly all clouds and its relatives), Azure's and Alibaba's
// own; in IPv6 link-local, EC2's and GCE's.
constexpr const char* kMetadata[] = {"169.254.0.0/16", "168.63.129.16", "100.100.100.200",
                                     "fe80::/10",      "fd00:ec2::254", "fd20:ce::254"};

// Envoy's and hawserd's static listeners have to answer probes by themselves.
constexpr std::uint32_t kStaticPorts[] = {15020, 15021, 15090};

template <typename T>
std::vector<T> sorted(std::vector<T> values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// nftables refuses a set whose elements overlap. What only touches stays as it was written.
std::vector<IdRange> sorted(std::vector<IdRange> ranges) {
  std::sort(ranges.begin(), ranges.end());
  std::vector<IdRange> out;
  for (const IdRange& range : ranges) {
    if (!out.empty() && range.first <= out.back().last)
      out.back().last = std::max(out.back().last, range.last);
    else
      out.push_back(range);
  }
  return out;
}

Owner sorted(Owner owner) {
  const auto before = [](const Mark& a, const Mark& b) {
    return a.value != b.value ? a.value < b.value : a.mask < b.mask;
  };
  std::sort(owner.marks.begin(), owner.marks.end(), before);
  owner.marks.erase(std::unique(owner.marks.begin(), owner.marks.end()), owner.marks.end());
  return {sorted(std::move(owner.uids)), sorted(std::move(owner.gids)), sorted(std::move(owner.cgroups)),
          std::move(owner.marks)};
}

template <typename T>
void add_new(std::vector<T>& to, const std::vector<T>& values, const std::vector<T>& known) {
  for (const T& value : values)
    if (std::find(known.begin(), known.end(), value) == known.end()) to.push_back(value);
}

// Who asks servers and isn't exempt anyhow.
Owner upstream_askers(const Intent& intent, const Guard& guard) {
  Owner out;
  for (const Owner* owner : {&intent.dns.agent, &intent.dns.host_resolver, &guard.host_resolver}) {
    add_new(out.uids, owner->uids, intent.exempt_uids);
    add_new(out.gids, owner->gids, intent.exempt_gids);
    add_new(out.cgroups, owner->cgroups, intent.exempt_cgroups);
    add_new(out.marks, owner->marks, intent.exempt_marks);
  }
  return sorted(std::move(out));
}

bool contains(const std::vector<PortRange>& ranges, std::uint32_t port) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [port](const PortRange& range) { return range.first <= port && port <= range.last; });
}

Status read_networks(const std::vector<std::string>& texts, std::vector<Cidr>& out) {
  out.reserve(texts.size());
  for (const std::string& text : texts) {
    auto cidr = parse_cidr(text);
    if (!cidr) return cidr.error();
    out.push_back(*cidr);
  }
  out = normalised(std::move(out));
  return {};
}

Status read_ranges(const std::vector<PortRange>& ranges, const std::string& what, std::vector<PortRange>& out) {
  auto read = normalised(ranges, what);
  if (!read) return read.error();
  out = std::move(*read);
  return {};
}

Status read_ports(const Intent& intent, Parts& out) {
  std::vector<PortRange> inbound = intent.inbound_ports;
  for (const Service& service : intent.services)
    inbound.insert(inbound.end(), service.ports.begin(), service.ports.end());
  if (auto s = read_ranges(inbound, "inbound port", out.inbound_ports); !s) return s;
  if (auto s = read_ranges(intent.inbound_exclude, "excluded inbound port", out.inbound_exclude); !s) return s;
  if (auto s = read_ranges(intent.outbound_ports, "outbound port", out.outbound_ports); !s) return s;
  return read_ranges(intent.outbound_exclude, "excluded outbound port", out.outbound_exclude);
}

Status read_endpoint(const Endpoint& endpoint, const std::string& what, std::vector<Never>& out) {
  auto address = parse_cidr(endpoint.address);
  if (!address) return address.error();
  std::vector<PortRange> ports;
  if (endpoint.port != 0) {
    if (auto s = check_port(endpoint.port, what + " " + endpoint.address); !s) return s;
    ports.push_back({endpoint.port, endpoint.port});
  }
  out.push_back({*address, std::move(ports)});
  return {};
}

// Ports of sshd in a form that can be matched: 22 always, others as observed.
void add_guarded(const Intent& intent, const Guard& guard, Parts& out) {
  constexpr std::uint32_t kSshd = 22;
  out.ssh_ports = {{kSshd, kSshd}};
  for (const std::uint16_t port : guard.ssh_ports)
    if (port != 0) out.ssh_ports.push_back({port, port});
  out.ssh_ports = normalised(std::move(out.ssh_ports), "SSH port").value();
  out.own_ports = {{intent.outbound_port, intent.outbound_port}, {intent.inbound_port, intent.inbound_port}};
  for (const std::uint32_t port : kStaticPorts) out.own_ports.push_back({port, port});
  if (intent.dns.capture != Dns::Capture::kOff) out.own_ports.push_back({intent.dns.port, intent.dns.port});
  out.own_ports = normalised(std::move(out.own_ports), "own port").value();
  for (const char* network : kMetadata) out.metadata.push_back(parse_cidr(network).value());
}

Status read_endpoints(const Intent& intent, Parts& out) {
  for (const Endpoint& endpoint : intent.never)
    if (auto s = read_endpoint(endpoint, "never-captured endpoint", out.never); !s) return s;
  if (!intent.capture_inbound || intent.probe_uid == 0) return {};
  for (const Endpoint& endpoint : intent.own_probes) {
    if (auto s = check_port(endpoint.port, "probe of " + endpoint.address); !s) return s;
    if (contains(out.ssh_ports, endpoint.port) || contains(out.own_ports, endpoint.port)) continue;
    if (auto s = read_endpoint(endpoint, "probe of", out.own_probes); !s) return s;
  }
  return {};
}

// The first server of each family that programs here ask for names.
Result<std::vector<Cidr>> first_servers(const std::vector<std::string>& servers, const std::vector<Family>& families) {
  std::vector<Cidr> out;
  for (const Family family : families) {
    for (const std::string& server : servers) {
      const auto cidr = parse_cidr(server);
      if (!cidr) return cidr.error();
      if (cidr->family != family) continue;
      out.push_back(*cidr);
      break;
    }
  }
  return out;
}

Status read_dns(const Intent& intent, const Guard& guard, Parts& out) {
  if (intent.dns.capture == Dns::Capture::kOff || intent.refuse || !intent.capture_outbound) return {};
  const bool all = intent.dns.capture == Dns::Capture::kAll;
  const auto& servers = intent.dns.resolvers.empty() ? guard.resolvers : intent.dns.resolvers;
  if (auto s = read_networks(all ? std::vector<std::string>{} : servers, out.resolvers); !s) return s;
  for (const Family family : kFamilies) {
    const bool served = family == Family::kIpv4 ? intent.dns.ipv4 && intent.ipv4 : intent.dns.ipv6 && intent.ipv6;
    if (served && (all || !of(family, out.resolvers).empty())) out.dns_families.push_back(family);
  }
  if (!out.dns_families.empty()) out.asks_upstream = upstream_askers(intent, guard);
  auto probes = first_servers(servers, out.dns_families);
  if (!probes) return probes.error();
  out.dns_probes = std::move(*probes);
  return {};
}

// UDP's are kept where they exclude something: a user's DNS.
Status read_user_ports(const Intent& intent, Parts& out) {
  for (const UserPorts& item : intent.user_ports) {
    UserPorts read{sorted(item.uids), {}, item.protocol};
    if (auto s = read_ranges(item.ports, "user's excluded port", read.ports); !s) return s;
    const bool dns = !out.dns_families.empty() && (read.ports.empty() || contains(read.ports, kDnsServer));
    if (item.protocol != Protocol::kUdp) {
      read.protocol = Protocol::kTcp;
      out.user_ports.push_back(read);
    }
    if (item.protocol != Protocol::kTcp && dns) {
      read.protocol = Protocol::kUdp;
      out.user_ports.push_back(std::move(read));
    }
  }
  return {};
}

}  // namespace

Result<Parts> prepare(const Intent& intent, const Guard& guard) {
  Parts out;
  if (auto s = read_ports(intent, out); !s) return s.error();
  if (auto s = read_networks(intent.outbound_cidrs, out.outbound_cidrs); !s) return s.error();
  if (auto s = read_networks(intent.outbound_exclude_cidrs, out.outbound_exclude_cidrs); !s) return s.error();
  add_guarded(intent, guard, out);
  if (auto s = read_endpoints(intent, out); !s) return s.error();
  if (auto s = read_dns(intent, guard, out); !s) return s.error();
  if (auto s = read_user_ports(intent, out); !s) return s.error();
  out.exempt = sorted({intent.exempt_uids, intent.exempt_gids, intent.exempt_cgroups, intent.exempt_marks});
  out.proxy = sorted(intent.proxy);
  out.tproxy = intent.capture_inbound && intent.inbound_mode == InboundMode::kTproxy && !intent.refuse;
  out.self_call =
      intent.self_call && intent.capture_inbound && intent.capture_outbound && !intent.refuse && !intent.proxy.empty();
  out.groups_include = sorted(intent.groups_include);
  out.groups_exclude = sorted(intent.groups_exclude);
  out.exclude_interfaces = sorted(intent.exclude_interfaces);
  return out;
}

}  // namespace hawser::netfilter
