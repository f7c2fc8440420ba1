// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <vector>

#include "netfilter/address.h"

// What: splits a list of networks where few comparisons tell most. Pure. Threading, failure: none.
namespace hawser::netfilter {

inline constexpr std::size_t kTreeWidth = 24;  // groups of a list
inline constexpr std::size_t kLeafWidth = 32;  // a list that long isn't split

// `common` covers all of `networks`; a group of one is just that network.
struct NetworkGroup {
  Cidr common;
  std::vector<Cidr> networks;
};

// At most kTreeWidth groups if prefixes allow it; each smaller than the whole.
std::vector<NetworkGroup> split_networks(const std::vector<Cidr>& networks);

}  // namespace hawser::netfilter
