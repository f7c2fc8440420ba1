// SPDX-License-Identifier: Apache-2.0
#include "proxy/process_memory.h"

#include <unistd.h>

#include <fstream>

namespace hawser::proxy {

ProcessMemory process_memory(const std::string& generation, pid_t pid) {
  ProcessMemory out;
  std::uint64_t value = 0;
  if (pid > 0) {
    const std::string process = "/proc/" + std::to_string(pid);
    std::ifstream pages(process + "/statm");
    std::uint64_t size = 0;
    if (pages >> size >> value) out.rss = value * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    std::ifstream shares(process + "/smaps_rollup");
    std::string key;
    while (shares >> key && key != "Pss:") {
    }
    if (shares >> value) out.pss = value * 1024;
  }
  std::ifstream unit("/sys/fs/cgroup/hawser.slice/hawser-proxy-" + generation + ".service/memory.current");
  if (unit >> value) out.cgroup = value;
  return out;
}

}  // namespace hawser::proxy
