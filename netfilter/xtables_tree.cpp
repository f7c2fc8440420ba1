// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/xtables_tree.h"

#include <algorithm>

namespace hawser::netfilter {
namespace {

Cidr truncated(Cidr network, unsigned prefix) {
  if (network.prefix <= prefix) return network;
  network.prefix = prefix;
  for (unsigned i = 0; i < network.bytes.size(); ++i) {
    const unsigned kept = prefix <= i * 8 ? 0 : std::min(8U, prefix - i * 8);
    network.bytes[i] = static_cast<std::uint8_t>(network.bytes[i] & (0xff00U >> kept));
  }
  return network;
}

bool before(const Cidr& a, const Cidr& b) {
  return a.bytes != b.bytes ? a.bytes < b.bytes : a.prefix < b.prefix;
}

std::size_t groups_at(const std::vector<Cidr>& sorted, unsigned prefix) {
  std::size_t out = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i)
    if (i == 0 || truncated(sorted[i], prefix) != truncated(sorted[i - 1], prefix)) ++out;
  return out;
}

}  // namespace

std::vector<NetworkGroup> split_networks(const std::vector<Cidr>& networks) {
  std::vector<Cidr> sorted = networks;
  std::sort(sorted.begin(), sorted.end(), before);
  // Each bit more doubles the groups at most, so the last prefix that fits has more than half of what is allowed,
  // unless the networks end there.
  const unsigned bits = !sorted.empty() && sorted.front().family == Family::kIpv6 ? 128 : 32;
  unsigned prefix = 0;
  while (prefix < bits && groups_at(sorted, prefix + 1) <= kTreeWidth) ++prefix;
  std::vector<NetworkGroup> out;
  for (const Cidr& network : sorted) {
    const Cidr common = truncated(network, prefix);
    if (out.empty() || out.back().common != common) out.push_back({common, {}});
    out.back().networks.push_back(network);
  }
  for (NetworkGroup& group : out)
    if (group.networks.size() == 1) group.common = group.networks.front();
  return out;
}

}  // namespace hawser::netfilter
