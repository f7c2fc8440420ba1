// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

// What: listening Unix sockets, either handed over by systemd (LISTEN_FDNAMES; sd_listen_fds(3)) or bound by us.
// When bound by us: an exclusive lock on `path`.lock is held first, so that a second instance can't steal the path
// (a plain bind after unlink would), then a stale file is replaced, and the mode is set before listen().
// Threading: blocking, at start. Failure: HWS-RPC-003 (bind), HWS-RPC-004 (another instance holds it).
namespace hawser {

struct ListeningSocket {
  UniqueFd fd;    // non-blocking, close-on-exec
  UniqueFd lock;  // unset when systemd bound it
  std::string path;
  bool inherited = false;
};

// `name` is the FileDescriptorName= of the .socket unit.
Result<ListeningSocket> listen_unix(const std::string& name, const std::string& path, mode_t mode);
// Removes the file if it's still ours (same inode); inherited sockets stay.
void unlink_unix(const ListeningSocket& socket);

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary, SO_PEERGROUPS
};
// SO_PEERCRED: the process that connected (unix(7)).
Result<PeerCredentials> peer_of(int fd);

}  // namespace hawser
