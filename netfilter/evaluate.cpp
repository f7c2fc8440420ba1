// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/evaluate.h"

#include <algorithm>

namespace hawser::netfilter {
namespace {

bool any(const std::vector<PortRange>& ranges, std::uint16_t port) {
  return ranges.empty() || std::any_of(ranges.begin(), ranges.end(), [port](const PortRange& range) {
           return range.first <= port && port <= range.last;
         });
}

bool any(const std::vector<Cidr>& networks, const Cidr& address) {
  return networks.empty() ||
         std::any_of(networks.begin(), networks.end(), [&](const Cidr& network) { return network.contains(address); });
}

bool asks_for_more(const Match& match) {
  return match.protocol == Protocol::kNotTcp || match.midstream || match.not_local || !match.interfaces.empty() ||
         !match.uids.empty() || !match.gids.empty();
}

bool matches(const Match& match, const Opening& opening) {
  return (match.family == Family::kBoth || match.family == opening.destination.family) &&
         any(match.destinations, opening.destination) && any(match.source_ports, opening.source_port) &&
         any(match.destination_ports, opening.destination_port);
}

}  // namespace

bool may_capture(const Plan& plan, const Opening& opening) {
  for (const Rule& rule : plan.rules) {
    if (rule.hook != Hook::kOutput || asks_for_more(rule.match)) continue;
    if (matches(rule.match, opening)) return rule.action.captures();
  }
  return false;
}

}  // namespace hawser::netfilter
