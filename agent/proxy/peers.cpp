// SPDX-License-Identifier: Apache-2.0
#include "proxy/peers.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <linux/tcp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "proxy/sock_diag.h"

namespace hawser::proxy {
namespace {

// netinet/tcp.h and linux/tcp.h exclude each other.
constexpr std::uint32_t kEstablished = 1U << 1U;  // TCP_ESTABLISHED
constexpr std::uint32_t kListen = 1U << 10U;      // TCP_LISTEN
constexpr std::uint8_t kInfo = 1U << (INET_DIAG_INFO - 1U);

std::string address_of(const inet_diag_msg& entry) {
  constexpr std::array<std::uint32_t, 3> kMapped{0, 0, 0xFFFF};
  const auto* words = entry.id.idiag_dst;
  const bool mapped = entry.idiag_family == AF_INET6 && words[0] == kMapped[0] && words[1] == kMapped[1] &&
                      ntohl(words[2]) == kMapped[2];
  std::array<char, INET6_ADDRSTRLEN> text{};
  const auto* told =
      inet_ntop(mapped ? AF_INET : entry.idiag_family, mapped ? words + 3 : words, text.data(), text.size());
  return told == nullptr ? std::string() : told;
}

// An older kernel's is shorter, and zero where it ends.
tcp_info info_of(const nlmsghdr& header) {
  tcp_info out{};
  const auto* at = reinterpret_cast<const char*>(&header) + NLMSG_LENGTH(NLMSG_ALIGN(sizeof(inet_diag_msg)));
  const auto* end = reinterpret_cast<const char*>(&header) + header.nlmsg_len;
  while (end - at >= static_cast<std::ptrdiff_t>(sizeof(rtattr))) {
    const auto* attribute = reinterpret_cast<const rtattr*>(at);
    if (attribute->rta_len < sizeof(rtattr) || attribute->rta_len > end - at) break;
    if (attribute->rta_type == INET_DIAG_INFO)
      std::memcpy(&out, RTA_DATA(attribute), std::min<std::size_t>(sizeof out, RTA_PAYLOAD(attribute)));
    at += RTA_ALIGN(attribute->rta_len);
  }
  return out;
}

Peer peer_of(const inet_diag_msg& entry, const nlmsghdr& header) {
  const tcp_info info = info_of(header);
  Peer out;
  out.address = address_of(entry);
  out.port = ntohs(entry.id.idiag_dport);
  out.local_port = ntohs(entry.id.idiag_sport);
  out.received = info.tcpi_bytes_received;
  out.sent = info.tcpi_bytes_acked;
  out.idle = std::chrono::milliseconds(std::min(info.tcpi_last_data_recv, info.tcpi_last_data_sent));
  out.cookie = (std::uint64_t{entry.id.idiag_cookie[1]} << 32U) | entry.id.idiag_cookie[0];
  return out;
}

}  // namespace

Result<std::vector<Peer>> observe_peers(const std::set<std::uint16_t>& ports) {
  std::vector<Peer> out;
  for (const auto port : ports) {
    if (port == 0) continue;
    const auto most = out.size() + kMaxPeers / ports.size();
    auto seen = visit_tcp({kEstablished, port, kInfo}, [&](const inet_diag_msg& entry, const nlmsghdr& header) {
      if (out.size() < most) out.push_back(peer_of(entry, header));
    });
    if (!seen) return seen.error();
  }
  return out;
}

Result<std::set<std::uint16_t>> ports_beside(std::uint16_t owner, const std::set<std::uint16_t>& ports) {
  std::multimap<std::uint32_t, std::uint16_t> listening;  // by user
  std::optional<std::uint32_t> user;
  auto seen = visit_tcp({.states = kListen}, [&](const inet_diag_msg& entry, const nlmsghdr&) {
    const auto port = ntohs(entry.id.idiag_sport);
    if (port == owner) user = entry.idiag_uid;
    if (ports.contains(port)) listening.emplace(entry.idiag_uid, port);
  });
  if (!seen) return seen.error();
  std::set<std::uint16_t> out;
  if (!user) return out;
  const auto [begin, end] = listening.equal_range(*user);
  for (auto each = begin; each != end; ++each) out.insert(each->second);
  return out;
}

nlohmann::json peer_json(const Peer& peer) {
  return {{"address", peer.address},   {"port", peer.port}, {"local_port", peer.local_port},
          {"received", peer.received}, {"sent", peer.sent}, {"idle_ms", peer.idle.count()}};
}

void PeerBook::note(std::vector<Peer> peers, Loop::Monotonic now) {
  std::map<std::uint64_t, Known> seen;
  for (auto& peer : peers) {
    const auto before = known_.find(peer.cookie);
    const auto since = before == known_.end() ? now : before->second.since;
    seen.insert_or_assign(peer.cookie, Known{std::move(peer), since});
  }
  known_ = std::move(seen);
}

std::vector<PeerBook::Known> PeerBook::oldest(std::size_t most) const {
  std::vector<Known> out;
  for (const auto& [cookie, known] : known_) out.push_back(known);
  std::stable_sort(out.begin(), out.end(), [](const Known& a, const Known& b) { return a.since < b.since; });
  if (out.size() > most) out.resize(most);
  return out;
}

std::uint16_t listener_port(const std::string& name) {
  const auto at = name.rfind('_');
  std::uint16_t port = 0;
  if (at == std::string::npos) return 0;
  const auto* end = name.data() + name.size();
  const auto read = std::from_chars(name.data() + at + 1, end, port);
  return read.ec == std::errc() && read.ptr == end ? port : std::uint16_t{0};
}

}  // namespace hawser::proxy
