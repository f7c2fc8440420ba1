// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "netfilter/plan.h"

// What: sockets that rules take for a program's. Root may be exempt, and so would a probe of root's be; rules ask who
// made the socket (net/netfilter/nft_meta.c: f_cred of its file), so for that moment it's the prober, in this thread
// alone.
// Threading: any; a connect takes up to 800 ms. Failure: an errno.
namespace hawser::netfilter {

// `type`: SOCK_STREAM or SOCK_DGRAM; not blocking. Invalid: see errno.
UniqueFd socket_of(const Prober& prober, int family, int type);

// Of an address as text; an empty one if it's none.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};
SocketAddress socket_address(const std::string& address, std::uint16_t port);

// 0, or the errno with which connect(2) ended.
int connect_as(const Prober& prober, const SocketAddress& address);

// Until it's readable or writable (POLLIN, POLLOUT), or has an error: 0, ETIMEDOUT, or an errno.
int await(int fd, short events, int milliseconds);

}  // namespace hawser::netfilter
