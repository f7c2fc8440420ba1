// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/boot_id.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"

namespace hawser {
namespace {

constexpr std::size_t kMaxId = 4096;

// /run begins with each boot, a container's too. Empty: the file system doesn't keep that.
std::string run_began() {
  struct statx found {};
  if (::statx(AT_FDCWD, "/run", 0, STATX_BTIME, &found) != 0 || (found.stx_mask & STATX_BTIME) == 0) return {};
  return "." + std::to_string(found.stx_btime.tv_sec) + "." + std::to_string(found.stx_btime.tv_nsec);
}

}  // namespace

std::string boot_id() {
  auto id = file::read_bounded("/proc/sys/kernel/random/boot_id", kMaxId);
  if (!id) return {};
  return id->substr(0, id->find('\n')) + run_began();
}

}  // namespace hawser
