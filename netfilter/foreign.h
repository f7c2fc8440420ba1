// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

// What: recognises rules of other meshes in `nft -a list ruleset`: Istio (native tables, and those that iptables-nft
// made), Traffic Director's script (which uses Istio's names), Kuma, Linkerd, Consul. They're known by the names of
// their tables and chains; what they put into other chains, by jumps there, comments and marks. Pure. Threading,
// failure: none (what isn't understood is nobody's).
namespace hawser::netfilter {

struct Foreign {
  std::string mesh;   // "Istio"
  std::string where;  // "table ip nat", "legacy table nat (IPv4)"
  auto operator<=>(const Foreign&) const = default;
};

// nullptr: of none that is known.
const char* mesh_of_chain(const std::string& name);
const char* mesh_of_table(const std::string& name);

// Istio's marks of TPROXY (its defaults).
inline constexpr std::uint32_t kIstioMark = 1337;
inline constexpr std::uint32_t kIstioSelfCallMark = 1338;

std::vector<Foreign> find_foreign(const std::string& ruleset);
// nft's commands, one transaction, that remove precisely those; empty if there are none. Tables that iptables-nft would
// make again stay, as does all else in them.
std::string emit_removal_of_foreign(const std::string& ruleset);
// "Istio (table ip nat, table ip raw), Kuma (…)".
std::string to_string(const std::vector<Foreign>& foreign);

}  // namespace hawser::netfilter
