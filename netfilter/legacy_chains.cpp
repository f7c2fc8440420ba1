// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/legacy_chains.h"

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "base/fd.h"
#include "base/file.h"

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxNames = 4096;
constexpr std::size_t kMaxEntries = 64U << 20U;

// A chain begins with an error target that holds its name (linux/netfilter/x_tables.h).
template <typename Info, typename Entries>
tl::expected<bool, int> chains(int family, int level, int get_info, int get_entries, const std::string& table,
                               std::string_view prefix) {
  UniqueFd fd(::socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!fd) return tl::unexpected(errno);
  Info info{};
  std::strncpy(info.name, table.c_str(), sizeof info.name - 1);
  socklen_t length = sizeof info;
  if (::getsockopt(fd.get(), level, get_info, &info, &length) != 0) return tl::unexpected(errno);
  if (info.size > kMaxEntries) return tl::unexpected(EOVERFLOW);
  length = static_cast<socklen_t>(sizeof(Entries) + info.size);
  std::string buffer(length, '\0');
  auto* entries = reinterpret_cast<Entries*>(buffer.data());
  std::memcpy(entries->name, info.name, sizeof info.name);
  entries->size = info.size;
  // Another writer between the two calls: the size isn't the one that was told.
  if (::getsockopt(fd.get(), level, get_entries, entries, &length) != 0) return tl::unexpected(errno);
  return buffer.find(prefix) != std::string::npos;
}

}  // namespace

std::vector<std::string> legacy_tables(bool v6) {
  std::vector<std::string> out;
  // Not /proc/net: a broker with ProcSubset=pid hasn't got that.
  const auto names =
      file::read_bounded(v6 ? "/proc/self/net/ip6_tables_names" : "/proc/self/net/ip_tables_names", kMaxNames);
  if (!names) return out;
  std::istringstream lines(*names);
  std::string table;
  while (std::getline(lines, table)) out.push_back(table);
  return out;
}

tl::expected<bool, int> legacy_chains(bool v6, const std::string& table, std::string_view prefix) {
  if (v6)
    return chains<ip6t_getinfo, ip6t_get_entries>(AF_INET6, IPPROTO_IPV6, IP6T_SO_GET_INFO, IP6T_SO_GET_ENTRIES, table,
                                                  prefix);
  return chains<ipt_getinfo, ipt_get_entries>(AF_INET, IPPROTO_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES, table, prefix);
}

}  // namespace hawser::netfilter
