// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "netfilter/address.h"

// What: the sockets of this network namespace (sock_diag(7), linux/inet_diag.h). Threading: blocking, milliseconds.
// Failure: HWS-NF-020.
namespace hawser::netfilter {

struct SocketFacts {
  Cidr address;  // where it is bound; 0.0.0.0 or :: is anywhere
  std::uint16_t port = 0;
  std::uint32_t uid = 0;
  std::uint32_t inode = 0;
  std::uint64_t cgroup = 0;  // the inode of its folder in cgroup v2; 0: not known
  std::uint32_t mark = 0;    // of what it sends (SO_MARK); told to CAP_NET_ADMIN alone
};

// kTcpAlive: all that still carry data, in one direction at least.
enum class SocketKind { kTcpListening, kTcpEstablished, kTcpAlive, kUdpBound };
Status visit_sockets(SocketKind kind, const std::function<void(const SocketFacts&)>& visit);
// At most 65,536 of them.
Result<std::vector<SocketFacts>> observe_sockets(SocketKind kind);

// Does a TCP socket listen on this port, at whatever address?
Result<bool> observe_listening(std::uint16_t port);
// Is a UDP socket bound to it?
Result<bool> observe_bound_udp(std::uint16_t port);
// TCP connections that live on our rules, in both families: their local port is one of the proxy's two, or, where there
// is a mark (TPROXY's; 0: none), they bear it, since their answers have to be brought back.
Result<std::size_t> observe_redirected(std::uint16_t outbound_port, std::uint16_t inbound_port, std::uint32_t mark = 0);

}  // namespace hawser::netfilter
