// SPDX-License-Identifier: Apache-2.0
#include "proxy/memory_room.h"

#include <unistd.h>

#include <fstream>
#include <string>

namespace hawser::proxy {
namespace {

// Envoy with 1,000 clusters; idle it holds half of that.
constexpr std::uint64_t kAssumed = 128ULL << 20U;

}  // namespace

std::optional<MemoryRoom> memory_room(pid_t pid) {
  MemoryRoom out;
  std::ifstream host("/proc/meminfo");
  std::string key;
  while (host >> key && key != "MemAvailable:") host.ignore(256, '\n');
  if (!(host >> out.available)) return std::nullopt;
  out.available *= 1024;
  std::ifstream process("/proc/" + std::to_string(pid) + "/statm");
  std::uint64_t pages = 0;
  if (process >> pages >> out.used)
    out.used *= static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  else
    out.used = kAssumed;  // hawserd's unit hides other users' processes
  return out;
}

}  // namespace hawser::proxy
