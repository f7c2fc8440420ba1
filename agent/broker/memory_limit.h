// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>

// What: how much memory a proxy may have, as root says it: "2G", "75%" of the host's, or "0" for no limit. Pure.
// Failure: nothing for a word that says none of these.
namespace hawser::broker {

// A proxy that leaks is to end before the programs that it serves do; one that is merely busy never gets there.
inline constexpr const char* kDefaultMemoryMax = "75%";

// Bytes; 0: no limit. A share is never under 1 GiB: on a small host it would end proxies that are well. At most what
// the host has is a limit.
std::optional<std::uint64_t> parse_memory_max(const std::string& text, std::uint64_t host_bytes);

}  // namespace hawser::broker
