// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/ssh_guard.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <sstream>

#include "base/file.h"
#include "netfilter/sockets.h"
#include "netfilter/sshd_config.h"

namespace hawser::netfilter {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxPorts = 64;
constexpr std::size_t kMaxEntries = 65536;
constexpr std::size_t kMaxUnit = 1U << 16U;
constexpr const char* kUnitFolders[] = {"/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator",
                                        "/usr/lib/systemd/system", "/lib/systemd/system"};

template <typename Visit>
void each_entry(const fs::path& folder, Visit visit) {
  std::error_code error;
  std::size_t seen = 0;
  for (fs::directory_iterator at(folder, error), end; !error && at != end && seen < kMaxEntries;
       at.increment(error), ++seen)
    visit(*at);
}

bool named(const std::string& name, std::initializer_list<const char*> patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&name](const char* pattern) { return ::fnmatch(pattern, name.c_str(), 0) == 0; });
}

// A cgroup's id is its folder's inode (kernel, cgroup_id()).
void add_cgroups(const fs::path& folder, std::set<std::uint64_t>& out) {
  each_entry(folder, [&out](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename();
    if (!named(name, {"ssh.service", "sshd.service", "ssh@*", "sshd@*", "system-ssh*.slice", "ssh.socket",
                      "sshd.socket", "sshd-*.service", "ssh-*.service"}))
      return;
    struct stat info {};
    if (::stat(entry.path().c_str(), &info) == 0) out.insert(info.st_ino);
    if (named(name, {"*.slice"})) add_cgroups(entry.path(), out);
  });
}

// The inode of "socket:[123]", or 0.
std::uint32_t socket_inode(const fs::path& link) {
  std::error_code error;
  const std::string target = fs::read_symlink(link, error).string();
  constexpr std::string_view kBegin = "socket:[";
  if (error || target.compare(0, kBegin.size(), kBegin) != 0) return 0;
  std::uint32_t inode = 0;
  std::from_chars(target.data() + kBegin.size(), target.data() + target.size(), inode);
  return inode;
}

// A unit of any name that runs an sshd. Others' programs may be in a session's scope, or in no unit at all.
void add_cgroup_of(const fs::path& process, std::set<std::uint64_t>& out) {
  const auto text = file::read_bounded(process / "cgroup", 4096);
  const auto begin = text ? text->find("0::/") : std::string::npos;
  if (begin == std::string::npos) return;
  const std::string path = text->substr(begin + 3, text->find('\n', begin) - begin - 3);
  if (!named(path, {"/*.service", "/*.service/*"})) return;
  struct stat info {};
  if (::stat(("/sys/fs/cgroup" + path).c_str(), &info) == 0) out.insert(info.st_ino);
}

// "sshd", and since OpenSSH 9.8 "sshd-session" and "sshd-auth". Whose sockets these are is shown to those with at least
// its capabilities; its cgroup, to all.
std::set<std::uint32_t> sockets_of_sshd(std::set<std::uint64_t>& cgroups) {
  std::set<std::uint32_t> out;
  each_entry("/proc", [&out, &cgroups](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) return;
    const auto program = file::read_bounded(entry.path() / "comm", 64);
    if (!program || (*program != "sshd\n" && program->compare(0, 5, "sshd-") != 0)) return;
    add_cgroup_of(entry.path(), cgroups);
    each_entry(entry.path() / "fd", [&out](const fs::directory_entry& fd) {
      if (const std::uint32_t inode = socket_inode(fd.path()); inode != 0) out.insert(inode);
    });
  });
  return out;
}

// Below it nothing is an ephemeral port, of which a session that forwards something has many.
std::uint32_t first_ephemeral() {
  const auto range = file::read_bounded("/proc/sys/net/ipv4/ip_local_port_range", 64);
  std::uint32_t first = 32768;
  if (range) std::istringstream(*range) >> first;
  return first;
}

void add_sockets(std::set<std::uint16_t>& out) {
  std::set<std::uint64_t> cgroups;
  add_cgroups("/sys/fs/cgroup/system.slice", cgroups);
  const auto inodes = sockets_of_sshd(cgroups);
  if (cgroups.empty() && inodes.empty()) return;
  const auto of_ssh = [&](const SocketFacts& socket) {
    return cgroups.count(socket.cgroup) != 0 || inodes.count(socket.inode) != 0;
  };
  if (const auto listening = observe_sockets(SocketKind::kTcpListening))
    for (const SocketFacts& socket : *listening)
      if (of_ssh(socket)) out.insert(socket.port);
  const std::uint32_t ephemeral = first_ephemeral();
  if (const auto sessions = observe_sockets(SocketKind::kTcpEstablished))
    for (const SocketFacts& socket : *sessions)
      if (socket.port < ephemeral && of_ssh(socket)) out.insert(socket.port);
}

void add_unit(const fs::path& path, std::set<std::uint16_t>& out) {
  const auto text = file::read_bounded(path, kMaxUnit);
  if (!text) return;
  for (const std::uint16_t port : parse_listen_ports(*text)) out.insert(port);
}

// Also of units that don't run, and of lines that a drop-in takes back: one port more is left alone.
void add_socket_units(std::set<std::uint16_t>& out) {
  for (const char* folder : kUnitFolders)
    for (const char* unit : {"ssh.socket", "sshd.socket"}) {
      const fs::path path = fs::path(folder) / unit;
      add_unit(path, out);
      each_entry(path.string() + ".d", [&out](const fs::directory_entry& entry) {
        if (entry.path().extension() == ".conf") add_unit(entry.path(), out);
      });
    }
}

}  // namespace

std::vector<std::uint16_t> parse_listen_ports(const std::string& unit) {
  std::vector<std::uint16_t> out;
  std::istringstream lines(unit);
  std::string line;
  while (std::getline(lines, line)) {
    constexpr std::string_view kKey = "ListenStream=";
    if (line.compare(0, kKey.size(), kKey) != 0) continue;
    const auto colon = line.rfind(':');
    const std::string digits = line.substr(colon == std::string::npos ? kKey.size() : colon + 1);
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error == std::errc() && end == digits.data() + digits.size() && port != 0) out.push_back(port);
  }
  return out;
}

std::vector<std::uint16_t> observe_ssh_ports() {
  std::set<std::uint16_t> found;
  for (const std::uint16_t port : configured_ssh_ports()) found.insert(port);
  add_sockets(found);
  add_socket_units(found);
  found.erase(0);
  std::vector<std::uint16_t> out(found.begin(), found.end());
  if (out.size() > kMaxPorts) out.resize(kMaxPorts);
  return out;
}

}  // namespace hawser::netfilter
