// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

// What: addresses and ports as rules match them. Pure. Threading: none of its own.
// Failure: HWS-NF-001 (port), HWS-NF-002 (inverted range), HWS-NF-003 (address or prefix).
namespace hawser::netfilter {

enum class Family { kBoth, kIpv4, kIpv6 };
inline constexpr Family kFamilies[] = {Family::kIpv4, Family::kIpv6};

struct PortRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  bool operator==(const PortRange&) const = default;
};

// "80", "80-90".
std::string to_string(const PortRange& range);
// "0x539".
std::string hex(std::uint32_t value);

// A network with its host bits cleared; a single address has the full prefix length.
struct Cidr {
  Family family = Family::kIpv4;
  std::array<std::uint8_t, 16> bytes{};
  unsigned prefix = 0;

  std::string text() const;
  bool contains(const Cidr& other) const;
  bool operator==(const Cidr&) const = default;
};

Result<Cidr> parse_cidr(const std::string& text);
// Sorted, without those that another one contains: nftables refuses overlapping elements of an interval set.
std::vector<Cidr> normalised(std::vector<Cidr> cidrs);

Status check_port(std::uint32_t port, const std::string& what);
// Checked, sorted and merged where they touch or overlap.
Result<std::vector<PortRange>> normalised(std::vector<PortRange> ranges, const std::string& what);

}  // namespace hawser::netfilter
