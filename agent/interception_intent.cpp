// SPDX-License-Identifier: Apache-2.0
#include "interception_intent.h"

#include <algorithm>

#include "config/load.h"

namespace hawser {
namespace {

std::vector<netfilter::PortRange> ranges(const std::vector<config::PortRange>& from) {
  std::vector<netfilter::PortRange> out;
  for (const auto& range : from) out.push_back({range.first, range.last});
  return out;
}

template <typename Id>
void add(std::vector<Id>& to, Id id) {
  if (std::find(to.begin(), to.end(), id) == to.end()) to.push_back(id);
}

void set_owners(const config::Config& config, netfilter::Intent& out) {
  const auto& exempt = config.interception.exempt;
  if (auto uid = config::resolve_user(config.users.agent)) {
    add<netfilter::IdRange>(out.exempt_uids, *uid);
    out.dns.agent.uids = {*uid};
    out.probe_uid = *uid;
  }
  if (auto uid = config::resolve_user(config.users.proxy)) {
    add<netfilter::IdRange>(out.exempt_uids, *uid);
    out.proxy.uids = {*uid};
  }
  if (auto gid = config::resolve_group(config.users.proxy)) add<std::uint32_t>(out.exempt_gids, *gid);
  for (const auto& uids : exempt.uids) add(out.exempt_uids, uids);
  for (const auto gid : exempt.gids) add(out.exempt_gids, gid);
  out.exempt_cgroups = exempt.cgroups;
  out.exempt_marks = exempt.marks;
}

}  // namespace

netfilter::Intent interception_intent(const config::Config& config) {
  const auto& from = config.interception;
  netfilter::Intent out;
  out.capture_outbound = from.outbound;
  out.capture_inbound = from.inbound;
  out.inbound_mode = from.mode;
  out.tproxy = from.tproxy;
  out.inbound_ports = ranges(from.inbound_ports);
  out.services = from.services;
  out.inbound_exclude = ranges(from.inbound_exclude);
  out.hbone_port = from.hbone_port;
  out.drop_invalid = from.drop_invalid;
  out.outbound_ports = ranges(from.outbound_ports);
  out.outbound_cidrs = from.outbound_cidrs;
  out.outbound_exclude = ranges(from.outbound_exclude_ports);
  out.outbound_exclude_cidrs = from.outbound_exclude_cidrs;
  out.groups_include = from.groups_include;
  out.groups_exclude = from.groups_exclude;
  out.user_ports = from.user_ports;
  out.exclude_interfaces = from.exclude_interfaces;
  out.self_call = from.self_call;
  out.dns.capture = from.dns;
  out.dns.port = from.dns_port;
  out.dns.resolvers = from.dns_resolvers;
  set_owners(config, out);
  return out;
}

bool exempts_root(const netfilter::Intent& intent) {
  return netfilter::contains(intent.exempt_uids, 0);
}

}  // namespace hawser
