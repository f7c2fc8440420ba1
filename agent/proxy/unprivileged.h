// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

// What: gives up root for good, in a child between fork and exec: no groups but `gid`, no capabilities (the kernel
// drops them when all uids leave 0), no_new_privs, signal mask and dispositions as a fresh program expects them.
// Threading: async-signal-safe, single-threaded process. Failure: an errno, 0 is success.
namespace hawser::proxy {

int become_unprivileged(uid_t uid, gid_t gid);

}  // namespace hawser::proxy
