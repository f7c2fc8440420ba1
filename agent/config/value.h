// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"

// What: scalars of the configuration from text; pure. Failure: a message without position (the reader adds it).
namespace hawser::config {

Result<std::chrono::milliseconds> parse_duration(const std::string& text);  // 500ms, 90s, 5m, 24h, 7d
Result<std::uint16_t> parse_port(const std::string& text);
Result<PortRange> parse_port_range(const std::string& text);  // 80 or 9000-9100
Result<HostPort> parse_host_port(const std::string& text);    // host:port, [v6]:port
Result<netfilter::Mark> parse_mark(const std::string& text);  // 1337, 0x539 or 0x500/0xf00
Status check_cidr(const std::string& text);
Status check_address(const std::string& text);
// HWS-CF-004, which the reader completes with its place.
Error bad(std::string message, std::string hint = {});
// The nearest of the known words, if near enough to be a slip.
std::optional<std::string> nearest(const std::string& word, const std::vector<std::string>& known);

}  // namespace hawser::config
