// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::proxy {

// One that is connected to a port of this host, as the kernel has it: Envoy's statistics only tell how many there are.
struct Peer {
  std::string address;  // numbers; of IPv4 in IPv6 the IPv4
  std::uint16_t port = 0;
  std::uint16_t local_port = 0;
  std::uint64_t received = 0;         // bytes, from the peer
  std::uint64_t sent = 0;             // bytes that the peer has acknowledged
  std::chrono::milliseconds idle{0};  // since a byte went either way
  std::uint64_t cookie = 0;           // the socket's own number, while the machine runs
};

// What: the established connections at these local ports, whichever process has them. What interception has redirected
// is at the port that took it, 15001 or 15006, whatever listener of Envoy's has it by now; TPROXY leaves connections
// their original port, which isn't one of a listener's. Needs no privilege. Threading: any; it waits for the kernel
// alone. Failure: HWS-PX-008. At most kMaxPeers are told, of each port its share.
inline constexpr std::size_t kMaxPeers = 10000;
Result<std::vector<Peer>> observe_peers(const std::set<std::uint16_t>& ports);
// What: of these ports those at which the user listens who does so at `owner`: Envoy has listeners that it doesn't
// bind, whose port may be another program's. Threading and failure: as above; none, if nobody listens at `owner`.
Result<std::set<std::uint16_t>> ports_beside(std::uint16_t owner, const std::set<std::uint16_t>& ports);
// As `hawser proxy connections --json` and `hawser drain --json` tell it.
nlohmann::json peer_json(const Peer& peer);

// What: for how long peers have been seen, which neither kernel nor Envoy knows. Threading: none of its own.
class PeerBook {
 public:
  struct Known {
    Peer peer;
    Loop::Monotonic since;  // it's connected at least since then
  };
  // What isn't there any more is forgotten.
  void note(std::vector<Peer> peers, Loop::Monotonic now);
  void clear() { known_.clear(); }
  std::size_t size() const { return known_.size(); }
  // Those that have been there for longest, first.
  std::vector<Known> oldest(std::size_t most) const;

 private:
  std::map<std::uint64_t, Known> known_;  // by cookie
};

// The port of a listener as statistics name it: 0.0.0.0_15006, [__]_15006; 0: none.
std::uint16_t listener_port(const std::string& name);

}  // namespace hawser::proxy
