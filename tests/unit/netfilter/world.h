// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <iosfwd>
#include <vector>

#include "netfilter/packet.h"
#include "netfilter/plan.h"

// What: a small world for random configurations and packets. Its pools are so small that what a configuration names and
// what a packet has often meet. Everything comes from a Draw, so that rapidcheck and a seed can both make it.
namespace hawser::netfilter::world {

class Draw {
 public:
  virtual ~Draw() = default;
  virtual std::size_t below(std::size_t limit) = 0;

  // Zero, and false, are the plainest.
  bool coin(std::size_t one_in = 2) { return below(one_in) == one_in - 1; }
  template <typename T>
  T pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }
  template <typename T>
  std::vector<T> some(const std::vector<T>& from, std::size_t most) {
    std::vector<T> out;
    for (std::size_t left = below(most + 1); left > 0; --left) out.push_back(pick(from));
    return out;
  }
};

inline constexpr std::uint32_t kAgent = 881;
inline constexpr std::uint32_t kProxy = 882;
inline constexpr std::uint32_t kResolver = 990;

struct Scenario {
  Intent intent;
  Guard guard;
  // Both families are captured, and each address that the configuration names, it names in both.
  bool symmetric = false;
};

Scenario draw_scenario(Draw& draw);
Packet draw_packet(Draw& draw, const Scenario& scenario);

// The IPv6 address that stands for an IPv4 one: loopback, metadata and passthrough have fixed partners.
Cidr in_ipv6(const Cidr& ipv4);
std::string in_ipv6(const std::string& ipv4);

std::ostream& operator<<(std::ostream& out, const Scenario& scenario);

}  // namespace hawser::netfilter::world
