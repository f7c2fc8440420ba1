// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/xtables_tree.h"

#include <algorithm>
#include <bit>

namespace hawser::netfilter {
namespace {

constexpr unsigned kNever = 129;

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

// The shortest prefix to which both can be cut and still differ.
unsigned differ_at(const Cidr& a, const Cidr& b) {
  unsigned out = a.prefix == b.prefix ? kNever : std::min(a.prefix, b.prefix) + 1;
  for (unsigned i = 0; i < a.bytes.size(); ++i) {
    const auto differing = static_cast<std::uint8_t>(a.bytes[i] ^ b.bytes[i]);
    if (differing == 0) continue;
    return std::min(out, i * 8 + static_cast<unsigned>(std::countl_zero(differing)) + 1);
  }
  return out;
}

// So many that the groups are about as full as one chain may be.
std::size_t groups_wanted(std::size_t networks) {
  return std::clamp((networks + kLeafWidth - 1) / kLeafWidth, std::size_t{2}, kTreeWidth);
}

// The longest that makes no more groups than that. Each bit more doubles them at most, so there are more than half as
// many, unless the networks end there.
unsigned common_prefix(const std::vector<Cidr>& sorted) {
  std::size_t begins[kNever + 1] = {};
  for (std::size_t i = 1; i < sorted.size(); ++i) ++begins[differ_at(sorted[i - 1], sorted[i])];
  std::size_t groups = 1;
  unsigned prefix = 0;
  while (prefix + 1 < kNever && groups + begins[prefix + 1] <= groups_wanted(sorted.size())) groups += begins[++prefix];
  return prefix;
}

}  // namespace

std::vector<NetworkGroup> split_networks(const std::vector<Cidr>& networks) {
  std::vector<Cidr> sorted = networks;
  if (!std::is_sorted(sorted.begin(), sorted.end(), before)) std::sort(sorted.begin(), sorted.end(), before);
  const unsigned prefix = common_prefix(sorted);
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
