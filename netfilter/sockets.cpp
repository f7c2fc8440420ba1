// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/sockets.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include <cstring>

#include "netfilter/netlink.h"

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxSockets = 65536;

std::uint32_t states(SocketKind kind) {
  switch (kind) {
    case SocketKind::kTcpListening:
      return 1U << TCP_LISTEN;
    case SocketKind::kTcpEstablished:
      return 1U << TCP_ESTABLISHED;
    case SocketKind::kTcpAlive:
      return (1U << TCP_ESTABLISHED) | (1U << TCP_SYN_RECV) | (1U << TCP_FIN_WAIT1) | (1U << TCP_FIN_WAIT2) |
             (1U << TCP_CLOSE_WAIT) | (1U << TCP_LAST_ACK) | (1U << TCP_CLOSING);
    case SocketKind::kUdpBound:
      return (1U << TCP_CLOSE) | (1U << TCP_ESTABLISHED);
  }
  return 0;
}

SocketFacts facts_of(const nlmsghdr* header) {
  const auto* message = static_cast<const inet_diag_msg*>(::mnl_nlmsg_get_payload(header));
  const bool v6 = message->idiag_family == AF_INET6;
  SocketFacts out;
  out.address.family = v6 ? Family::kIpv6 : Family::kIpv4;
  out.address.prefix = v6 ? 128 : 32;
  std::memcpy(out.address.bytes.data(), message->id.idiag_src, v6 ? 16 : 4);
  out.port = ntohs(message->id.idiag_sport);
  out.uid = message->idiag_uid;
  out.inode = message->idiag_inode;
  each_attribute(header, sizeof(inet_diag_msg), [&out](const nlattr* attribute) {
    const auto type = ::mnl_attr_get_type(attribute);
    const auto has = [&](std::size_t size) { return ::mnl_attr_validate2(attribute, MNL_TYPE_UNSPEC, size) >= 0; };
    if (type == INET_DIAG_CGROUP_ID && has(sizeof out.cgroup)) out.cgroup = ::mnl_attr_get_u64(attribute);
    if (type == INET_DIAG_MARK && has(sizeof out.mark)) out.mark = ::mnl_attr_get_u32(attribute);
  });
  return out;
}

Result<bool> any_at(SocketKind kind, std::uint16_t port) {
  bool found = false;
  auto visited = visit_sockets(kind, [&](const SocketFacts& socket) { found = found || socket.port == port; });
  if (!visited) return visited.error();
  return found;
}

}  // namespace

Status visit_sockets(SocketKind kind, const std::function<void(const SocketFacts&)>& visit) {
  for (const int family : {AF_INET, AF_INET6}) {
    NetlinkRequest request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
    auto* wanted = request.body<inet_diag_req_v2>();
    wanted->sdiag_family = static_cast<std::uint8_t>(family);
    wanted->sdiag_protocol = kind == SocketKind::kUdpBound ? IPPROTO_UDP : IPPROTO_TCP;
    wanted->idiag_states = states(kind);
    const int error = ask_kernel(NETLINK_SOCK_DIAG, request, [&](const nlmsghdr* header) { visit(facts_of(header)); });
    if (error != 0)
      return errno_error(error, "HWS-NF-020", "can't list sockets",
                         "the kernel needs inet_diag, tcp_diag and udp_diag");
  }
  return {};
}

Result<std::vector<SocketFacts>> observe_sockets(SocketKind kind) {
  std::vector<SocketFacts> out;
  auto visited = visit_sockets(kind, [&out](const SocketFacts& socket) {
    if (out.size() < kMaxSockets) out.push_back(socket);
  });
  if (!visited) return visited.error();
  return out;
}

Result<bool> observe_listening(std::uint16_t port) {
  return any_at(SocketKind::kTcpListening, port);
}

Result<bool> observe_bound_udp(std::uint16_t port) {
  return any_at(SocketKind::kUdpBound, port);
}

Result<std::size_t> observe_redirected(std::uint16_t outbound_port, std::uint16_t inbound_port, std::uint32_t mark) {
  std::size_t found = 0;
  auto visited = visit_sockets(SocketKind::kTcpAlive, [&](const SocketFacts& socket) {
    const bool marked = mark != 0 && socket.mark == mark;
    if (marked || socket.port == outbound_port || socket.port == inbound_port) ++found;
  });
  if (!visited) return visited.error();
  return found;
}

}  // namespace hawser::netfilter
