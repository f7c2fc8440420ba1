// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "netfilter/address.h"

// What: the sockets of this network namespace (sock_diag(7), linux/inet_diag.h). Threading: blocking, milliseconds.
// Failure: HWS-NF-020. At most 65,536 of a kind are looked at.
namespace hawser::netfilter {

struct SocketFacts {
  Cidr address;  // where it is bound; 0.0.0.0 or :: is anywhere
  std::uint16_t port = 0;
  std::uint32_t uid = 0;
  std::uint32_t inode = 0;
  std::uint64_t cgroup = 0;  // the inode of its folder in cgroup v2; 0: not known
};

enum class SocketKind { kTcpListening, kTcpConnected, kUdpBound };
Result<std::vector<SocketFacts>> observe_sockets(SocketKind kind);

}  // namespace hawser::netfilter
