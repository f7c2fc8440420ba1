// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "base/result.h"

// What: the lock by which programs that change xtables take turns (xtables.lock(8): flock(2) on /run/xtables.lock, or
// what XTABLES_LOCKFILE names). libiptc itself takes none. Threading: blocks up to `wait`.
// Failure: HWS-NF-071 (held by another program all that time; its pid, where /proc/locks can be read), HWS-NF-072 (the
// file can't be made or opened).
namespace hawser::netfilter {

std::string xtables_lock_path();

class XtablesLock {
 public:
  static Result<XtablesLock> take(const std::string& path, std::chrono::milliseconds wait);

 private:
  explicit XtablesLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace hawser::netfilter
