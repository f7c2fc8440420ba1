// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// What: who is connected through a proxy, as far as Envoy's statistics tell: how many, not who, and not since when.
// Pure. Failure: none; lines that aren't understood are left out.
namespace hawser::proxy {

struct Connections {
  struct Listener {
    std::string address;  // as the statistic spells it: 0.0.0.0_15006
    std::uint64_t connections = 0;
  };
  // An HTTP connection manager: its requests and streams that have begun and not ended.
  struct Manager {
    std::string prefix;
    std::uint64_t connections = 0;
    std::uint64_t requests = 0;
    std::uint64_t upgraded = 0;  // WebSocket and the like
  };
  struct Cluster {
    std::string name;
    std::uint64_t connections = 0;
    std::uint64_t requests = 0;
  };
  std::vector<Listener> listeners;
  std::vector<Manager> managers;
  std::vector<Cluster> clusters;
};

// The path that asks Envoy for it.
std::string connections_query();
// Its answer; what has neither connection nor request is left out.
Connections parse_connections(std::string_view stats);

}  // namespace hawser::proxy
