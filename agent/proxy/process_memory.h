// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace hawser::proxy {

struct ProcessMemory {
  std::optional<std::uint64_t> rss;     // bytes
  std::optional<std::uint64_t> pss;     // what it shares with others counted in part
  std::optional<std::uint64_t> cgroup;  // of its systemd unit, with what the kernel holds for it
  std::optional<std::uint64_t> mapped;  // of that, what the process itself has: comparable to RSS
  std::optional<std::uint64_t> limit;   // of its unit: over that the kernel ends it
};

// What: how much memory a generation holds, as far as it can be seen: hawserd's unit hides other users' processes, and
// a launcher other than systemd gives no cgroup. Threading: any; reads of /proc and /sys. Failure: what isn't seen is
// left out.
ProcessMemory process_memory(const std::string& generation, pid_t pid);

}  // namespace hawser::proxy
