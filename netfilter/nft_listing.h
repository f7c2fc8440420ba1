// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

// What: what has to be read back from `list table inet hawser`. nft normalises rules when it lists them, so texts can't
// be compared; the digest that emit_nft() left in the table's comment and the number of tagged rules can: others
// can't edit an owned table. Pure. Threading, failure: none (what isn't found stays empty).
namespace hawser::netfilter {

struct Traffic {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

struct Listing {
  std::string digest;
  std::size_t output_rules = 0;
  std::size_t prerouting_rules = 0;
  std::map<std::string, Traffic> counters;
};

Listing parse_listing(const std::string& text);

}  // namespace hawser::netfilter
