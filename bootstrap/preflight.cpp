// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/preflight.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <sstream>

#include "base/fd.h"
#include "base/file.h"

namespace hawser::bootstrap {
namespace {

constexpr std::string_view kListen = "0A";  // TCP_LISTEN

// Binding is the one sure test; SO_REUSEADDR as Envoy sets it, so that old connections in TIME_WAIT don't count.
int try_bind(int family, std::uint16_t port) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno == EAFNOSUPPORT ? 0 : errno;
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (family == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

template <typename T>
bool number(std::string_view text, int base, T& out) {
  const auto end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, out, base);
  return read.ec == std::errc() && read.ptr == end && !text.empty();
}

// The kernel prints an address as 32-bit words in the host's byte order.
std::string address_text(std::string_view hex) {
  std::array<std::uint32_t, 4> words{};
  if (hex.size() != 8 && hex.size() != 32) return {};
  for (std::size_t i = 0; i * 8 < hex.size(); ++i)
    if (!number(hex.substr(i * 8, 8), 16, words[i])) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = hex.size() == 8 ? AF_INET : AF_INET6;
  return inet_ntop(family, words.data(), text.data(), text.size()) == nullptr ? std::string() : text.data();
}

std::vector<ListeningSocket> observe_listening() {
  // A busy host has a million sockets; then there is no hint.
  constexpr std::size_t kLimit = 16U << 20U;
  std::vector<ListeningSocket> out;
  for (const char* path : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    auto text = file::read_bounded(path, kLimit);
    if (!text) continue;
    auto part = parse_proc_net_tcp(*text);
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

std::string user_name(unsigned uid) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return {};
  return found->pw_name;
}

Error port_taken(const TakenPort& taken) {
  const std::string port = std::to_string(taken.port);
  std::string who = "another program";
  if (taken.by) {
    const bool v6 = taken.by->address.find(':') != std::string::npos;
    who = "a program of user " + (taken.user.empty() ? std::to_string(taken.by->uid) : taken.user) +
          ", which listens on " + (v6 ? "[" + taken.by->address + "]" : taken.by->address) + ":" + port;
  }
  return {Code::kAlreadyExists, "HWS-PF-001", "port " + port + " is taken by " + who,
          "\"ss -ltnp 'sport = :" + port + "'\" shows it; stop it or move it"};
}

Error not_here(const std::string& address) {
  return {Code::kFailedPrecondition, "HWS-PF-002",
          "the mesh is told the address " + address + ", which no interface of this host has",
          "right if that address is translated to this host; else correct workload.address"};
}

}  // namespace

std::vector<ListeningSocket> parse_proc_net_tcp(std::string_view text) {
  std::vector<ListeningSocket> out;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid …
    std::istringstream words(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid;
    if (!(words >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid) || state != kListen)
      continue;
    const auto colon = local.find(':');
    ListeningSocket item;
    if (colon == std::string::npos || !number(std::string_view(local).substr(colon + 1), 16, item.port)) continue;
    item.address = address_text(std::string_view(local).substr(0, colon));
    if (item.address.empty() || !number(std::string_view(uid), 10, item.uid)) continue;
    out.push_back(std::move(item));
  }
  return out;
}

std::vector<TakenPort> observe_taken(const std::vector<std::uint16_t>& ports) {
  std::vector<TakenPort> out;
  for (const std::uint16_t port : ports)
    if (try_bind(AF_INET, port) == EADDRINUSE || try_bind(AF_INET6, port) == EADDRINUSE) out.push_back({port, {}, {}});
  if (out.empty()) return out;
  const auto listening = observe_listening();
  for (auto& taken : out) {
    const auto owner =
        std::find_if(listening.begin(), listening.end(), [&](const auto& item) { return item.port == taken.port; });
    if (owner == listening.end()) continue;
    taken.by = *owner;
    taken.user = user_name(owner->uid);
  }
  return out;
}

Findings judge(const Observations& seen, const Expectations& wanted) {
  Findings out;
  for (const auto& taken : seen.taken) out.errors.push_back(port_taken(taken));
  // The proxy's own traffic is exempt from interception by its uid: with root's, all of root's would be.
  if (wanted.proxy_uid == 0)
    out.errors.emplace_back(Code::kFailedPrecondition, "HWS-PF-003",
                            "the proxy would run as root, so that no program of root's could be in the mesh",
                            "set users.proxy to a system user of its own");
  else if (wanted.proxy_uid == wanted.agent_uid)
    out.errors.emplace_back(Code::kFailedPrecondition, "HWS-PF-003",
                            "the proxy would run as the agent's user, and could read the identity's key",
                            "set users.proxy and users.agent to two system users");
  const auto& own = seen.own_addresses;
  for (const auto& address : wanted.told_addresses)
    if (std::find(own.begin(), own.end(), address) == own.end()) out.warnings.push_back(not_here(address));
  return out;
}

Status ports_free(const std::vector<std::uint16_t>& ports) {
  const auto taken = observe_taken(ports);
  if (taken.empty()) return {};
  return port_taken(taken.front());
}

}  // namespace hawser::bootstrap
