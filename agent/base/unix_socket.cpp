// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace hawser {
namespace {

// One .socket unit gives all its streams the same name, so the address decides among those.
int inherited_fd(const std::string& name, const std::string& path) {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(0, &names);
  int found = -1;
  for (int i = 0; i < count; ++i) {
    const int fd = SD_LISTEN_FDS_START + i;
    if (names[i] != nullptr && name == names[i] && sd_is_socket_unix(fd, SOCK_STREAM, 1, path.c_str(), 0) > 0)
      found = fd;
    std::free(names[i]);
  }
  std::free(names);
  return found;
}

Status set_flags(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return errno_error(errno, "HWS-RPC-003", "can't set flags of a socket");
  return {};
}

}  // namespace

Result<ListeningSocket> listen_unix(const std::string& name, const std::string& path, mode_t mode) {
  ListeningSocket out;
  out.path = path;
  if (const int fd = inherited_fd(name, path); fd >= 0) {
    // A copy: systemd's own stays open for the process's life, so that a host that leaves and joins again finds it.
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return errno_error(errno, "HWS-RPC-003", "can't set flags of a socket");
    out.fd = UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!out.fd) return errno_error(errno, "HWS-RPC-003", "can't copy the socket " + name);
    out.inherited = true;
    if (auto flags = set_flags(fd); !flags) return flags.error();
    return out;
  }
  const std::string lock_path = path + ".lock";
  out.lock = UniqueFd(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out.lock)
    return errno_error(errno, "HWS-RPC-003", "can't open " + lock_path,
                       errno == EROFS ? "make it writable, as by: mount -o remount,rw /run"
                                      : "create the folder with systemd-tmpfiles --create");
  if (::flock(out.lock.get(), LOCK_EX | LOCK_NB) != 0)
    return Error(Code::kAlreadyExists, "HWS-RPC-004", "another instance serves " + path,
                 "stop the other instance first");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error(Code::kInvalidArgument, "HWS-RPC-003", "socket path too long: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  out.fd = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!out.fd) return errno_error(errno, "HWS-RPC-003", "can't make a socket");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return errno_error(errno, "HWS-RPC-003", "can't replace " + path,
                       "systemd-tmpfiles --create makes the folder with the right owner and mode");
  if (::bind(out.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error(errno, "HWS-RPC-003", "can't bind " + path, "create the folder with systemd-tmpfiles --create");
  if (::chmod(path.c_str(), mode) != 0) return errno_error(errno, "HWS-RPC-003", "can't set the mode of " + path);
  if (::listen(out.fd.get(), 128) != 0) return errno_error(errno, "HWS-RPC-003", "can't listen on " + path);
  return out;
}

void unlink_unix(const ListeningSocket& socket) {
  if (socket.inherited || !socket.fd) return;
  // The lock is held, so the path is ours; its lock file goes with it.
  ::unlink(socket.path.c_str());
  ::unlink((socket.path + ".lock").c_str());
}

Result<PeerCredentials> peer_of(int fd) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
    return errno_error(errno, "HWS-RPC-003", "can't read the peer's credentials");
  PeerCredentials peer{credentials.pid, credentials.uid, credentials.gid, {}};
  std::vector<gid_t> groups(64);
  length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  int rc = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length);
  if (rc != 0 && errno == ERANGE) {  // the kernel told the size that it needs
    groups.resize(length / sizeof(gid_t));
    rc = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length);
  }
  if (rc == 0) {
    groups.resize(length / sizeof(gid_t));
    peer.groups = std::move(groups);
  }
  return peer;
}

}  // namespace hawser
