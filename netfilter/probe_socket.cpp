// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/probe_socket.h"

#include <poll.h>
#include <sys/fsuid.h>

#include <cerrno>

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

int connect_as(const Prober& prober, const sockaddr* address, socklen_t length) {
  const UniqueFd fd = socket_of(prober, address->sa_family, SOCK_STREAM);
  if (!fd) return errno;
  if (::connect(fd.get(), address, length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  return await(fd.get(), POLLOUT, kConnectTimeoutMs);
}

}  // namespace hawser::netfilter
