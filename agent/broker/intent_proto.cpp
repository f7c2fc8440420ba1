// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/intent_proto.h"

#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

template <typename Repeated>
std::vector<netfilter::PortRange> to_ranges(const Repeated& ranges) {
  std::vector<netfilter::PortRange> out;
  for (const auto& range : ranges) out.push_back({range.first(), range.last()});
  return out;
}

template <typename Repeated>
void to_proto(const std::vector<netfilter::PortRange>& ranges, Repeated& out) {
  for (const auto& range : ranges) {
    auto* added = out.Add();
    added->set_first(range.first);
    added->set_last(range.last);
  }
}

template <typename Repeated>
std::vector<std::uint32_t> to_ids(const Repeated& ids) {
  return {ids.begin(), ids.end()};
}

// Single ones have a list of their own.
template <typename Ids, typename Ranges>
std::vector<netfilter::IdRange> to_uids(const Ids& ids, const Ranges& ranges) {
  std::vector<netfilter::IdRange> out(ids.begin(), ids.end());
  for (const auto& range : ranges) out.emplace_back(range.first(), range.last());
  return out;
}

template <typename Ids, typename Ranges>
void to_proto(const std::vector<netfilter::IdRange>& uids, Ids& ids, Ranges& ranges) {
  for (const netfilter::IdRange& range : uids) {
    if (range.first == range.last) {
      ids.Add(range.first);
      continue;
    }
    auto* added = ranges.Add();
    added->set_first(range.first);
    added->set_last(range.last);
  }
}

template <typename Repeated>
std::vector<std::string> to_texts(const Repeated& texts) {
  return {texts.begin(), texts.end()};
}

template <typename T, typename Repeated>
void to_proto(const std::vector<T>& values, Repeated& out) {
  out.Assign(values.begin(), values.end());
}

template <typename Repeated>
std::vector<netfilter::Mark> to_marks(const Repeated& marks) {
  std::vector<netfilter::Mark> out;
  for (const auto& mark : marks) out.push_back({mark.value(), mark.mask()});
  return out;
}

template <typename Repeated>
void to_proto(const std::vector<netfilter::Mark>& marks, Repeated& out) {
  for (const auto& mark : marks) {
    auto* added = out.Add();
    added->set_value(mark.value);
    added->set_mask(mark.mask);
  }
}

template <typename Repeated>
std::vector<netfilter::Endpoint> to_endpoints(const Repeated& endpoints) {
  std::vector<netfilter::Endpoint> out;
  for (const auto& endpoint : endpoints) out.push_back({endpoint.address(), endpoint.port()});
  return out;
}

template <typename Repeated>
void to_proto(const std::vector<netfilter::Endpoint>& endpoints, Repeated& out) {
  for (const auto& endpoint : endpoints) {
    auto* added = out.Add();
    added->set_address(endpoint.address);
    added->set_port(endpoint.port);
  }
}

netfilter::Owner to_owner(const v1::Owner& proto) {
  return {to_uids(proto.uids(), proto.uid_ranges()), to_ids(proto.gids()), to_texts(proto.cgroups()),
          to_marks(proto.marks())};
}

void to_proto(const netfilter::Owner& owner, v1::Owner& out) {
  to_proto(owner.uids, *out.mutable_uids(), *out.mutable_uid_ranges());
  to_proto(owner.gids, *out.mutable_gids());
  to_proto(owner.cgroups, *out.mutable_cgroups());
  to_proto(owner.marks, *out.mutable_marks());
}

netfilter::Protocol to_protocol(v1::UserPorts::Protocol proto) {
  if (proto == v1::UserPorts::TCP) return netfilter::Protocol::kTcp;
  return proto == v1::UserPorts::UDP ? netfilter::Protocol::kUdp : netfilter::Protocol::kAny;
}

v1::UserPorts::Protocol to_proto(netfilter::Protocol protocol) {
  if (protocol == netfilter::Protocol::kTcp) return v1::UserPorts::TCP;
  return protocol == netfilter::Protocol::kUdp ? v1::UserPorts::UDP : v1::UserPorts::ANY;
}

netfilter::Dns to_dns(const v1::Dns& proto) {
  netfilter::Dns out;
  if (proto.capture() == v1::Dns::RESOLVERS) out.capture = netfilter::Dns::Capture::kResolvers;
  if (proto.capture() == v1::Dns::ALL) out.capture = netfilter::Dns::Capture::kAll;
  out.port = proto.port();
  out.ipv4 = proto.ipv4();
  out.ipv6 = proto.ipv6();
  out.agent = to_owner(proto.agent());
  out.resolvers = to_texts(proto.resolvers());
  out.host_resolver = to_owner(proto.host_resolver());
  return out;
}

void to_proto(const netfilter::Dns& dns, v1::Dns& out) {
  using Capture = netfilter::Dns::Capture;
  out.set_capture(dns.capture == Capture::kAll         ? v1::Dns::ALL
                  : dns.capture == Capture::kResolvers ? v1::Dns::RESOLVERS
                                                       : v1::Dns::OFF);
  out.set_port(dns.port);
  out.set_ipv4(dns.ipv4);
  out.set_ipv6(dns.ipv6);
  to_proto(dns.agent, *out.mutable_agent());
  to_proto(dns.resolvers, *out.mutable_resolvers());
  to_proto(dns.host_resolver, *out.mutable_host_resolver());
}

void read_inbound(const v1::Intent& proto, netfilter::Intent& out) {
  if (proto.inbound_mode() == v1::Intent::INBOUND_TPROXY) out.inbound_mode = netfilter::InboundMode::kTproxy;
  if (proto.has_tproxy()) out.tproxy = {proto.tproxy().mark(), proto.tproxy().mask(), proto.tproxy().table()};
  out.inbound_ports = to_ranges(proto.inbound_ports());
  for (const auto& service : proto.services()) out.services.push_back({service.name(), to_ranges(service.ports())});
  out.inbound_exclude = to_ranges(proto.inbound_exclude());
  out.hbone_port = proto.hbone_port();
  out.drop_invalid = proto.drop_invalid();
}

void write_inbound(const netfilter::Intent& intent, v1::Intent& out) {
  if (intent.inbound_mode == netfilter::InboundMode::kTproxy) out.set_inbound_mode(v1::Intent::INBOUND_TPROXY);
  out.mutable_tproxy()->set_mark(intent.tproxy.mark);
  out.mutable_tproxy()->set_mask(intent.tproxy.mask);
  out.mutable_tproxy()->set_table(intent.tproxy.table);
  to_proto(intent.inbound_ports, *out.mutable_inbound_ports());
  for (const auto& service : intent.services) {
    auto* added = out.add_services();
    added->set_name(service.name);
    to_proto(service.ports, *added->mutable_ports());
  }
  to_proto(intent.inbound_exclude, *out.mutable_inbound_exclude());
  out.set_hbone_port(intent.hbone_port);
  out.set_drop_invalid(intent.drop_invalid);
}

void read_exceptions(const v1::Intent& proto, netfilter::Intent& out) {
  out.exempt_uids = to_uids(proto.exempt_uids(), proto.exempt_uid_ranges());
  out.exempt_gids = to_ids(proto.exempt_gids());
  out.exempt_cgroups = to_texts(proto.exempt_cgroups());
  out.exempt_marks = to_marks(proto.exempt_marks());
  out.groups_include = to_ids(proto.groups_include());
  out.groups_exclude = to_ids(proto.groups_exclude());
  for (const auto& item : proto.user_ports())
    out.user_ports.push_back(
        {to_uids(item.uids(), item.uid_ranges()), to_ranges(item.ports()), to_protocol(item.protocol())});
  out.exclude_interfaces = to_texts(proto.exclude_interfaces());
  out.never = to_endpoints(proto.never());
}

void write_exceptions(const netfilter::Intent& intent, v1::Intent& out) {
  to_proto(intent.exempt_uids, *out.mutable_exempt_uids(), *out.mutable_exempt_uid_ranges());
  to_proto(intent.exempt_gids, *out.mutable_exempt_gids());
  to_proto(intent.exempt_cgroups, *out.mutable_exempt_cgroups());
  to_proto(intent.exempt_marks, *out.mutable_exempt_marks());
  to_proto(intent.groups_include, *out.mutable_groups_include());
  to_proto(intent.groups_exclude, *out.mutable_groups_exclude());
  for (const auto& item : intent.user_ports) {
    auto* added = out.add_user_ports();
    to_proto(item.uids, *added->mutable_uids(), *added->mutable_uid_ranges());
    to_proto(item.ports, *added->mutable_ports());
    added->set_protocol(to_proto(item.protocol));
  }
  to_proto(intent.exclude_interfaces, *out.mutable_exclude_interfaces());
  to_proto(intent.never, *out.mutable_never());
}

}  // namespace

netfilter::Intent to_intent(const v1::Intent& proto) {
  netfilter::Intent out;
  out.outbound_port = proto.outbound_port();
  out.inbound_port = proto.inbound_port();
  out.capture_outbound = proto.capture_outbound();
  out.capture_inbound = proto.capture_inbound();
  out.ipv4 = proto.ipv4();
  out.ipv6 = proto.ipv6();
  out.refuse = proto.refuse();
  read_inbound(proto, out);
  out.outbound_ports = to_ranges(proto.outbound_ports());
  out.outbound_cidrs = to_texts(proto.outbound_cidrs());
  out.outbound_exclude = to_ranges(proto.outbound_exclude());
  out.outbound_exclude_cidrs = to_texts(proto.outbound_exclude_cidrs());
  read_exceptions(proto, out);
  out.self_call = proto.self_call();
  out.proxy = to_owner(proto.proxy());
  if (proto.has_dns()) out.dns = to_dns(proto.dns());
  out.own_probes = to_endpoints(proto.own_probes());
  out.probe_uid = proto.probe_uid();
  return out;
}

void to_proto(const netfilter::Intent& intent, v1::Intent& out) {
  out.Clear();
  out.set_outbound_port(intent.outbound_port);
  out.set_inbound_port(intent.inbound_port);
  out.set_capture_outbound(intent.capture_outbound);
  out.set_capture_inbound(intent.capture_inbound);
  out.set_ipv4(intent.ipv4);
  out.set_ipv6(intent.ipv6);
  out.set_refuse(intent.refuse);
  write_inbound(intent, out);
  to_proto(intent.outbound_ports, *out.mutable_outbound_ports());
  to_proto(intent.outbound_cidrs, *out.mutable_outbound_cidrs());
  to_proto(intent.outbound_exclude, *out.mutable_outbound_exclude());
  to_proto(intent.outbound_exclude_cidrs, *out.mutable_outbound_exclude_cidrs());
  write_exceptions(intent, out);
  out.set_self_call(intent.self_call);
  to_proto(intent.proxy, *out.mutable_proxy());
  to_proto(intent.dns, *out.mutable_dns());
  to_proto(intent.own_probes, *out.mutable_own_probes());
  out.set_probe_uid(intent.probe_uid);
}

}  // namespace hawser::broker
