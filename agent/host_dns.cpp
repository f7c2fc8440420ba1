// SPDX-License-Identifier: Apache-2.0
#include "host_dns.h"

#include <sys/stat.h>

#include <cstdio>
#include <sstream>

#include "base/file.h"

namespace hawser {

// A line of it: "  12: 0100007F:3ACD 00000000:0000 07 …", in the byte order of the machine (proc(5)).
bool dns_listener_bound(bool ipv6, std::uint16_t port) {
  constexpr std::size_t kMaxTable = 4U << 20U;
  const auto table = file::read_bounded(ipv6 ? "/proc/net/udp6" : "/proc/net/udp", kMaxTable);
  if (!table) return false;
  char end[8];
  std::snprintf(end, sizeof end, ":%04X", port);
  const std::string wanted = (ipv6 ? "00000000000000000000000001000000" : "0100007F") + std::string(end);
  std::istringstream lines(*table);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string number;
    std::string local;
    words >> number >> local;
    if (local == wanted) return true;
  }
  return false;
}

std::string resolv_conf_stamp() {
  struct stat info {};
  if (::stat("/etc/resolv.conf", &info) != 0) return "none";
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) + ":" + std::to_string(info.st_size) + ":" +
         std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
}

}  // namespace hawser
