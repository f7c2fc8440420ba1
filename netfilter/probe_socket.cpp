// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/probe_socket.h"

#include <netdb.h>
#include <poll.h>
#include <sys/fsuid.h>

#include <cerrno>
#include <cstring>

namespace hawser::netfilter {
namespace {

constexpr int kConnectTimeoutMs = 800;

}  // namespace

UniqueFd socket_of(const Prober& prober, int family, int type) {
  const int gid = ::setfsgid(prober.gid);
  const int uid = ::setfsuid(prober.uid);
  UniqueFd fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int error = errno;
  ::setfsuid(static_cast<uid_t>(uid));
  ::setfsgid(static_cast<gid_t>(gid));
  errno = error;
  return fd;
}

int await(int fd, short events, int milliseconds) {
  pollfd item{fd, events, 0};
  int n = 0;
  do {
    n = ::poll(&item, 1, milliseconds);
  } while (n < 0 && errno == EINTR);
  if (n == 0) return ETIMEDOUT;
  if (n < 0) return errno;
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 ? errno : error;
}

SocketAddress socket_address(const std::string& address, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;  // nobody is asked
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  SocketAddress out;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return out;
  std::memcpy(&out.storage, found->ai_addr, found->ai_addrlen);
  out.length = found->ai_addrlen;
  ::freeaddrinfo(found);
  return out;
}

int connect_as(const Prober& prober, const SocketAddress& address) {
  const UniqueFd fd = socket_of(prober, address.storage.ss_family, SOCK_STREAM);
  if (!fd) return errno;
  if (::connect(fd.get(), address.get(), address.length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  return await(fd.get(), POLLOUT, kConnectTimeoutMs);
}

}  // namespace hawser::netfilter
