// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/resolvers.h"

#include <algorithm>
#include <sstream>

#include "base/file.h"
#include "netfilter/sockets.h"

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxConfig = 1U << 16U;
constexpr std::size_t kMaxServers = 16;
constexpr std::uint16_t kPort = 53;

bool loopback(const Cidr& address) {
  return parse_cidr("127.0.0.0/8").value().contains(address) || parse_cidr("::1").value() == address;
}

bool anywhere(const Cidr& address) {
  return std::all_of(address.bytes.begin(), address.bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

std::vector<std::string> parse_resolvers(const std::string& resolv_conf) {
  std::vector<std::string> out;
  std::istringstream lines(resolv_conf);
  std::string line;
  while (std::getline(lines, line) && out.size() < kMaxServers) {
    std::istringstream words(line);
    std::string key;
    std::string address;
    words >> key >> address;
    address = address.substr(0, address.find('%'));
    if (key != "nameserver" || address.find('/') != std::string::npos || !parse_cidr(address)) continue;
    if (std::find(out.begin(), out.end(), address) == out.end()) out.push_back(address);
  }
  return out;
}

void observe_resolvers(Guard& out) {
  const auto text = file::read_bounded("/etc/resolv.conf", kMaxConfig);
  if (!text) return;
  out.resolvers = parse_resolvers(*text);
  std::vector<Cidr> local;
  for (const std::string& server : out.resolvers)
    if (const Cidr address = parse_cidr(server).value(); loopback(address)) local.push_back(address);
  if (local.empty()) return;
  const auto sockets = observe_sockets(SocketKind::kUdpBound);
  if (!sockets) return;
  auto& uids = out.host_resolver.uids;
  for (const SocketFacts& socket : *sockets) {
    const bool serves = socket.port == kPort && (anywhere(socket.address) ||
                                                 std::find(local.begin(), local.end(), socket.address) != local.end());
    if (serves && std::find(uids.begin(), uids.end(), socket.uid) == uids.end()) uids.push_back(socket.uid);
  }
  std::sort(uids.begin(), uids.end());
}

}  // namespace hawser::netfilter
