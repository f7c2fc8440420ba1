// SPDX-License-Identifier: Apache-2.0
#include "proxy/memory_room.h"

#include <fstream>
#include <string>

#include "proxy/process_memory.h"

namespace hawser::proxy {
namespace {

// Envoy with 1,000 clusters; idle it holds half of that.
constexpr std::uint64_t kAssumed = 128ULL << 20U;

}  // namespace

std::optional<MemoryRoom> memory_room(const std::string& generation, pid_t pid) {
  MemoryRoom out;
  std::ifstream host("/proc/meminfo");
  std::string key;
  while (host >> key && key != "MemAvailable:") host.ignore(256, '\n');
  if (!(host >> out.available)) return std::nullopt;
  out.available *= 1024;
  const auto held = process_memory(generation, pid);
  out.used = held.rss.value_or(held.mapped.value_or(kAssumed));
  return out;
}

}  // namespace hawser::proxy
