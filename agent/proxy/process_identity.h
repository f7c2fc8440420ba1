// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/boot_id.h"
#include "base/fd.h"

// What: which process a pid number meant, so that a number that was given to another process since isn't taken for it:
// pid and start time (field 22 of /proc/PID/stat) are unique until the next boot, the boot id tells boots apart.
// Threading: any. Failure: an identity that can't be read is empty, and matches nothing.
namespace hawser::proxy {

struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  // clock ticks since boot

  explicit operator bool() const { return pid > 0 && start_time > 0; }
  bool operator==(const ProcessIdentity&) const = default;
};

ProcessIdentity identify(pid_t pid);
// Unset if that process is gone. Poll it for reading: ready when the process has ended.
UniqueFd open_pidfd(const ProcessIdentity& process);

}  // namespace hawser::proxy
