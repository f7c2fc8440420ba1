// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

// What: what has to be read back from `list table inet hawser`. nft normalises rules when it lists them, so texts can't
// be compared; what emit_nft() left in the table's comment and the number of tagged rules a chain can: others can't
// edit an owned table. Pure. Threading, failure: none (what isn't found stays empty).
namespace hawser::netfilter {

struct Traffic {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

using Counters = std::map<std::string, Traffic>;  // by purpose: "out_redirect"

struct Listing {
  std::string digest;
  std::string generation;                    // what followed the digest in the comment
  std::map<std::string, std::size_t> rules;  // tagged ones, by chain; of several tables together
  Counters counters;                         // of several tables together
};

Listing parse_listing(const std::string& text);

}  // namespace hawser::netfilter
