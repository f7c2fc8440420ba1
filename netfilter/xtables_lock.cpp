// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/xtables_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace hawser::netfilter {
namespace {

constexpr int kPollMs = 5;

// "1: FLOCK  ADVISORY  WRITE 4711 00:1a:1234 0 EOF" (proc_locks(5)). The pid is ours of that process's namespace.
std::string holder(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return {};
  const std::string inode = ":" + std::to_string(info.st_ino);
  std::ifstream locks("/proc/locks");
  std::string line;
  while (std::getline(locks, line)) {
    std::istringstream words(line);
    std::string number, kind, mode, access, pid, file;
    words >> number >> kind >> mode >> access >> pid >> file;
    if (kind == "FLOCK" && file.size() > inode.size() &&
        file.compare(file.size() - inode.size(), inode.size(), inode) == 0 && pid != "0" && pid != "-1")
      return pid;
  }
  return {};
}

}  // namespace

std::string xtables_lock_path() {
  const char* path = std::getenv("XTABLES_LOCKFILE");
  return path != nullptr && *path != '\0' ? path : "/run/xtables.lock";
}

Result<XtablesLock> XtablesLock::take(const std::string& path, std::chrono::milliseconds wait) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!fd)
    return errno_error(errno, "HWS-NF-072", "the xtables lock " + path + " can't be opened",
                       "let systemd-tmpfiles make it, where /run is writable, and restart the broker: "
                       "systemd-tmpfiles --create hawser.conf");
  const auto end = std::chrono::steady_clock::now() + wait;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return errno_error(errno, "HWS-NF-072", "the xtables lock " + path + " can't be taken");
    if (std::chrono::steady_clock::now() >= end) {
      const std::string pid = holder(fd.get());
      return Error(Code::kUnavailable, "HWS-NF-071",
                   "another program" + (pid.empty() ? "" : " (pid " + pid + ")") + " has held the xtables lock " +
                       path + " for " + std::to_string(wait.count()) + " ms",
                   "wait for it, or end it; nothing was changed");
    }
    (void)::poll(nullptr, 0, kPollMs);
  }
  return XtablesLock(std::move(fd));
}

}  // namespace hawser::netfilter
