// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// What: is this host fit for what a join will start? Observing reads the kernel's tables and changes nothing; judging
// is pure. Threading: blocking, some milliseconds. Failure: HWS-PF-001 (a port is taken; says by whose program, as far
// as the kernel tells it to all), HWS-PF-002 (the address that the mesh would be told is on no interface: a warning,
// since it may be behind NAT), HWS-PF-003 (the proxy's user can't be told from others).
namespace hawser::bootstrap {

// A listening socket, as /proc/net/tcp and tcp6 show it.
struct ListeningSocket {
  std::string address;
  std::uint16_t port = 0;
  unsigned uid = 0;
};

// Lines that aren't in the kernel's format are passed over.
std::vector<ListeningSocket> parse_proc_net_tcp(std::string_view text);

struct TakenPort {
  std::uint16_t port = 0;
  std::optional<ListeningSocket> by;
  std::string user;  // of by->uid; empty: it has no name
};

struct Observations {
  std::vector<TakenPort> taken;
  std::vector<std::string> own_addresses;  // of all interfaces
};

struct Expectations {
  std::vector<std::string> told_addresses;  // what the mesh is told
  unsigned agent_uid = 0;
  unsigned proxy_uid = 0;
};

struct Findings {
  std::vector<Error> errors;
  std::vector<Error> warnings;
};

// Which of `ports` can't be bound, and who has them.
std::vector<TakenPort> observe_taken(const std::vector<std::uint16_t>& ports);
Findings judge(const Observations& seen, const Expectations& wanted);

// Ports that Envoy's listeners need: the first that is taken.
Status ports_free(const std::vector<std::uint16_t>& ports);

}  // namespace hawser::bootstrap
