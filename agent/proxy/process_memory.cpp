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
  const std::string unit = "/sys/fs/cgroup/hawser.slice/hawser-proxy-" + generation + ".service/memory.";
  if (std::ifstream(unit + "current") >> value) out.cgroup = value;
  if (std::ifstream(unit + "max") >> value) out.limit = value;  // not if it's "max"
  std::ifstream kinds(unit + "stat");
  for (std::string kind; kinds >> kind >> value;)
    if (kind == "anon" || kind == "file_mapped") out.mapped = out.mapped.value_or(0) + value;
  return out;
}

}  // namespace hawser::proxy
