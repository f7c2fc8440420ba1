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
  out.inbound_ports = to_ranges(proto.inbound_ports());
  out.inbound_exclude = to_ranges(proto.inbound_exclude());
  out.outbound_exclude = to_ranges(proto.outbound_exclude());
  out.outbound_exclude_cidrs.assign(proto.outbound_exclude_cidrs().begin(), proto.outbound_exclude_cidrs().end());
  out.exempt_uids.assign(proto.exempt_uids().begin(), proto.exempt_uids().end());
  out.exempt_gids.assign(proto.exempt_gids().begin(), proto.exempt_gids().end());
  for (const auto& endpoint : proto.never()) out.never.push_back({endpoint.address(), endpoint.port()});
  for (const auto& endpoint : proto.own_probes()) out.own_probes.push_back({endpoint.address(), endpoint.port()});
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
  to_proto(intent.inbound_ports, *out.mutable_inbound_ports());
  to_proto(intent.inbound_exclude, *out.mutable_inbound_exclude());
  to_proto(intent.outbound_exclude, *out.mutable_outbound_exclude());
  for (const auto& cidr : intent.outbound_exclude_cidrs) out.add_outbound_exclude_cidrs(cidr);
  for (const auto uid : intent.exempt_uids) out.add_exempt_uids(uid);
  for (const auto gid : intent.exempt_gids) out.add_exempt_gids(gid);
  for (const auto& endpoint : intent.never) {
    auto* added = out.add_never();
    added->set_address(endpoint.address);
    added->set_port(endpoint.port);
  }
  for (const auto& endpoint : intent.own_probes) {
    auto* added = out.add_own_probes();
    added->set_address(endpoint.address);
    added->set_port(endpoint.port);
  }
  out.set_probe_uid(intent.probe_uid);
}

}  // namespace hawser::broker
