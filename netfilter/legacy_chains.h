// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

// What: a look at the tables of iptables-legacy, by the kernel's own interface (linux/netfilter_ipv4/ip_tables.h),
// which makes none. Threading: blocking, milliseconds. Failure: an errno.
namespace hawser::netfilter {

// Those that exist in this network namespace. Asking for another one would make it.
std::vector<std::string> legacy_tables(bool v6);
// Does a chain, or a jump to one, begin with `prefix`?
tl::expected<bool, int> legacy_chains(bool v6, const std::string& table, std::string_view prefix);

}  // namespace hawser::netfilter
