// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/process_identity.h"

extern "C" {  // glibc 2.36 forgets it
#include <sys/pidfd.h>
}

#include <sstream>

#include "base/file.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kMaxStat = 4096;

}  // namespace

ProcessIdentity identify(pid_t pid) {
  if (pid <= 0) return {};
  auto stat = file::read_bounded("/proc/" + std::to_string(pid) + "/stat", kMaxStat);
  if (!stat) return {};
  // The second field is the command's name in parentheses and may contain both spaces and parentheses.
  const auto close = stat->rfind(')');
  if (close == std::string::npos) return {};
  std::istringstream fields(stat->substr(close + 1));
  std::string field;
  constexpr int kStartTime = 22;
  for (int number = 3; number < kStartTime && fields >> field; ++number) {
    // A zombie has ended, though its number isn't free yet.
    if (number == 3 && (field == "Z" || field == "X")) return {};
  }
  ProcessIdentity out;
  if (fields >> out.start_time) out.pid = pid;
  return out;
}

UniqueFd open_pidfd(const ProcessIdentity& process) {
  if (!process) return UniqueFd();
  UniqueFd fd(::pidfd_open(process.pid, 0));
  // The number may have passed to another process before the descriptor was open; not after.
  if (!fd || identify(process.pid) != process) return UniqueFd();
  return fd;
}

}  // namespace hawser::proxy
