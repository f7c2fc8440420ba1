// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace hawser::netfilter {
namespace {

constexpr std::uint32_t kMaxPort = 65535;

Error bad_address(const std::string& text) {
  return {Code::kInvalidArgument, "HWS-NF-003", "\"" + text + "\" is neither an address nor a network",
          "write it like 10.0.0.0/8 or fd00::/8, names aren't resolved here"};
}

unsigned width(Family family) {
  return family == Family::kIpv4 ? 32U : 128U;
}

void clear_host_bits(Cidr& cidr) {
  for (unsigned bit = cidr.prefix; bit < width(cidr.family); ++bit)
    cidr.bytes[bit / 8] = static_cast<std::uint8_t>(cidr.bytes[bit / 8] & ~(0x80U >> (bit % 8)));
}

}  // namespace

std::string Cidr::text() const {
  char buffer[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(family == Family::kIpv4 ? AF_INET : AF_INET6, bytes.data(), buffer, sizeof buffer);
  std::string out = buffer;
  if (prefix != width(family)) out += "/" + std::to_string(prefix);
  return out;
}

bool Cidr::contains(const Cidr& other) const {
  if (family != other.family || prefix > other.prefix) return false;
  Cidr wider = other;
  wider.prefix = prefix;
  clear_host_bits(wider);
  return wider.bytes == bytes;
}

Result<Cidr> parse_cidr(const std::string& text) {
  const auto slash = text.find('/');
  const std::string address = text.substr(0, slash);
  Cidr out;
  if (::inet_pton(AF_INET, address.c_str(), out.bytes.data()) == 1) {
    out.family = Family::kIpv4;
  } else if (::inet_pton(AF_INET6, address.c_str(), out.bytes.data()) == 1) {
    out.family = Family::kIpv6;
  } else {
    return bad_address(text);
  }
  out.prefix = width(out.family);
  if (slash == std::string::npos) return out;
  const std::string_view digits = std::string_view(text).substr(slash + 1);
  unsigned prefix = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (error != std::errc() || end != digits.data() + digits.size() || prefix > out.prefix) return bad_address(text);
  out.prefix = prefix;
  clear_host_bits(out);
  return out;
}

std::vector<Cidr> normalised(std::vector<Cidr> cidrs) {
  // Wider networks first, so that one pass keeps only what isn't contained yet.
  std::sort(cidrs.begin(), cidrs.end(), [](const Cidr& a, const Cidr& b) {
    if (a.family != b.family) return a.family < b.family;
    if (a.bytes != b.bytes) return a.bytes < b.bytes;
    return a.prefix < b.prefix;
  });
  std::vector<Cidr> out;
  for (const Cidr& cidr : cidrs)
    if (out.empty() || !out.back().contains(cidr)) out.push_back(cidr);
  return out;
}

std::string to_string(const PortRange& range) {
  const std::string first = std::to_string(range.first);
  return range.first == range.last ? first : first + "-" + std::to_string(range.last);
}

std::string hex(std::uint32_t value) {
  char out[16];
  std::snprintf(out, sizeof out, "0x%x", value);
  return out;
}

Status check_port(std::uint32_t port, const std::string& what) {
  if (port >= 1 && port <= kMaxPort) return {};
  return Error(Code::kInvalidArgument, "HWS-NF-001", what + ": " + std::to_string(port) + " is no TCP port",
               "use a number from 1 to 65535");
}

Result<std::vector<PortRange>> normalised(std::vector<PortRange> ranges, const std::string& what) {
  for (const PortRange& range : ranges) {
    if (auto first = check_port(range.first, what); !first) return first.error();
    if (auto last = check_port(range.last, what); !last) return last.error();
    if (range.first > range.last)
      return Error(Code::kInvalidArgument, "HWS-NF-002",
                   what + ": range " + std::to_string(range.first) + "-" + std::to_string(range.last) + " is inverted",
                   "write the lower port first");
  }
  std::sort(ranges.begin(), ranges.end(), [](const PortRange& a, const PortRange& b) { return a.first < b.first; });
  std::vector<PortRange> out;
  for (const PortRange& range : ranges) {
    if (!out.empty() && range.first <= out.back().last + 1)
      out.back().last = std::max(out.back().last, range.last);
    else
      out.push_back(range);
  }
  return out;
}

}  // namespace hawser::netfilter
