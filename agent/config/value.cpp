// SPDX-License-Identifier: Apache-2.0
#include "config/value.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>
#include <string_view>

namespace hawser::config {
namespace {

Result<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    return bad("'" + std::string(text) + "' is not a number");
  return value;
}

Result<std::uint32_t> parse_word(std::string_view text) {
  const bool hex = text.substr(0, 2) == "0x";
  if (hex) text.remove_prefix(2);
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    return bad("'" + std::string(text) + "' is not a number of 32 bits");
  return value;
}

bool is_ip(const std::string& text, int family) {
  std::array<unsigned char, sizeof(in6_addr)> out{};
  return inet_pton(family, text.c_str(), out.data()) == 1;
}

}  // namespace

Error bad(std::string message, std::string hint) {
  return {Code::kInvalidArgument, "HWS-CF-004", std::move(message), std::move(hint)};
}

Result<std::chrono::milliseconds> parse_duration(const std::string& text) {
  const auto digits = text.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string::npos)
    return bad("'" + text + "' is not a duration", "write e.g. 500ms, 90s, 5m, 24h or 7d");
  auto number = parse_number(std::string_view(text).substr(0, digits));
  const std::string unit = text.substr(digits);
  std::uint64_t factor = 0;
  if (unit == "ms") factor = 1;
  if (unit == "s") factor = 1000;
  if (unit == "m") factor = 60'000;
  if (unit == "h") factor = 3'600'000;
  if (unit == "d") factor = 86'400'000;
  constexpr std::uint64_t kYear = 366ULL * 86'400'000ULL;
  if (!number || factor == 0 || *number > kYear / factor)
    return bad("'" + text + "' is not a duration up to a year", "write e.g. 500ms, 90s, 5m, 24h or 7d");
  return std::chrono::milliseconds(*number * factor);
}

Result<std::uint16_t> parse_port(const std::string& text) {
  auto number = parse_number(text);
  if (!number || *number < 1 || *number > 65535) return bad("'" + text + "' is not a port", "a port is 1 to 65535");
  return static_cast<std::uint16_t>(*number);
}

Result<PortRange> parse_port_range(const std::string& text) {
  const auto dash = text.find('-');
  auto first = parse_port(text.substr(0, dash));
  if (!first) return first.error();
  if (dash == std::string::npos) return PortRange{*first, *first};
  auto last = parse_port(text.substr(dash + 1));
  if (!last) return last.error();
  if (*last < *first) return bad("port range '" + text + "' is inverted", "write the lower port first");
  return PortRange{*first, *last};
}

Result<HostPort> parse_host_port(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return bad("'" + text + "' has no port", "write host:port, e.g. istiod.istio-system.svc:15012");
  auto port = parse_port(text.substr(colon + 1));
  if (!port) return port.error();
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (!is_ip(host, AF_INET6)) return bad("'" + host + "' is not an IPv6 address");
  } else if (host.find(':') != std::string::npos) {
    return bad("'" + text + "' is ambiguous", "put an IPv6 address in brackets: [fd00::1]:15012");
  }
  return HostPort{host, *port};
}

Result<netfilter::Mark> parse_mark(const std::string& text) {
  const auto slash = text.find('/');
  auto value = parse_word(std::string_view(text).substr(0, slash));
  netfilter::Mark out;
  if (value && slash != std::string::npos) {
    auto mask = parse_word(std::string_view(text).substr(slash + 1));
    if (!mask) value = mask.error();
    if (mask) out.mask = *mask;
  }
  if (!value) return bad("'" + text + "' is not a mark", "write e.g. 1337, 0x539 or 0x500/0xf00");
  out.value = *value;
  return out;
}

Status check_address(const std::string& text) {
  if (is_ip(text, AF_INET) || is_ip(text, AF_INET6)) return {};
  return bad("'" + text + "' is not an IP address");
}

Status check_cidr(const std::string& text) {
  const auto slash = text.find('/');
  const std::string address = text.substr(0, slash);
  const bool v4 = is_ip(address, AF_INET);
  if (!v4 && !is_ip(address, AF_INET6))
    return bad("'" + text + "' is not an address or CIDR", "write e.g. 10.0.0.0/8 or fd00::/8");
  if (slash == std::string::npos) return {};
  auto bits = parse_number(std::string_view(text).substr(slash + 1));
  if (!bits || *bits > (v4 ? 32U : 128U))
    return bad("'" + text + "' has a bad prefix length", v4 ? "IPv4: 0 to 32" : "IPv6: 0 to 128");
  return {};
}

std::optional<std::string> nearest(const std::string& word, const std::vector<std::string>& known) {
  std::size_t best = std::numeric_limits<std::size_t>::max();
  std::optional<std::string> found;
  for (const auto& candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1);  // Levenshtein
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i + 1;
      for (std::size_t j = 0; j < candidate.size(); ++j) {
        const std::size_t above = row[j + 1];
        row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (word[i] == candidate[j] ? 0U : 1U)});
        diagonal = above;
      }
    }
    if (row.back() < best) {
      best = row.back();
      found = candidate;
    }
  }
  if (best <= std::max<std::size_t>(2, word.size() / 3)) return found;
  return std::nullopt;
}

}  // namespace hawser::config
