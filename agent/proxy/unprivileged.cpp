// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/unprivileged.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace hawser::proxy {

int become_unprivileged(uid_t uid, gid_t gid) {
  if (uid == 0 || gid == 0) return EPERM;
  sigset_t none;
  ::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return errno;
  // Ignored signals would stay ignored over exec. Some numbers can't be set; that is fine.
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  // The soft limit of 1,024 descriptors is for select(2); a proxy needs two a connection.
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  if (::setgroups(0, nullptr) != 0) return errno;
  if (::setresgid(gid, gid, gid) != 0) return errno;
  if (::setresuid(uid, uid, uid) != 0) return errno;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  return 0;
}

}  // namespace hawser::proxy
