// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/sockets.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxSockets = 65536;

struct CloseSocket {
  void operator()(mnl_socket* socket) const { ::mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, CloseSocket>;

Error diag_error(int err) {
  return errno_error(err, "HWS-NF-020", "can't list sockets", "the kernel needs inet_diag, tcp_diag and udp_diag");
}

int read_attribute(const nlattr* attribute, void* data) {
  if (::mnl_attr_get_type(attribute) == INET_DIAG_CGROUP_ID &&
      ::mnl_attr_validate2(attribute, MNL_TYPE_UNSPEC, sizeof(std::uint64_t)) >= 0)
    *static_cast<std::uint64_t*>(data) = ::mnl_attr_get_u64(attribute);
  return MNL_CB_OK;
}

int read_socket(const nlmsghdr* header, void* data) {
  auto* out = static_cast<std::vector<SocketFacts>*>(data);
  if (out->size() >= kMaxSockets) return MNL_CB_OK;
  const auto* message = static_cast<const inet_diag_msg*>(::mnl_nlmsg_get_payload(header));
  SocketFacts facts;
  facts.address.family = message->idiag_family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  facts.address.prefix = message->idiag_family == AF_INET6 ? 128 : 32;
  std::memcpy(facts.address.bytes.data(), message->id.idiag_src, message->idiag_family == AF_INET6 ? 16 : 4);
  facts.port = ntohs(message->id.idiag_sport);
  facts.uid = message->idiag_uid;
  facts.inode = message->idiag_inode;
  ::mnl_attr_parse(header, sizeof(inet_diag_msg), read_attribute, &facts.cgroup);
  out->push_back(facts);
  return MNL_CB_OK;
}

std::uint32_t states(SocketKind kind) {
  switch (kind) {
    case SocketKind::kTcpListening:
      return 1U << TCP_LISTEN;
    case SocketKind::kTcpConnected:
      return 1U << TCP_ESTABLISHED;
    case SocketKind::kUdpBound:
      return (1U << TCP_CLOSE) | (1U << TCP_ESTABLISHED);
  }
  return 0;
}

Status dump(mnl_socket* socket, std::uint8_t family, SocketKind kind, std::vector<SocketFacts>& out) {
  alignas(nlmsghdr) char buffer[32768] = {};
  nlmsghdr* header = ::mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* request = static_cast<inet_diag_req_v2*>(::mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
  request->sdiag_family = family;
  request->sdiag_protocol = kind == SocketKind::kUdpBound ? IPPROTO_UDP : IPPROTO_TCP;
  request->idiag_states = states(kind);
  if (::mnl_socket_sendto(socket, header, header->nlmsg_len) < 0) return diag_error(errno);
  for (;;) {
    const ssize_t n = ::mnl_socket_recvfrom(socket, buffer, sizeof buffer);
    if (n < 0) return diag_error(errno);
    const int rc =
        ::mnl_cb_run(buffer, static_cast<std::size_t>(n), 0, ::mnl_socket_get_portid(socket), read_socket, &out);
    if (rc < 0) return diag_error(errno);
    if (rc == MNL_CB_STOP) return {};
  }
}

}  // namespace

Result<std::vector<SocketFacts>> observe_sockets(SocketKind kind) {
  Socket socket(::mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC));
  if (!socket) return diag_error(errno);
  if (::mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return diag_error(errno);
  std::vector<SocketFacts> out;
  for (const int family : {AF_INET, AF_INET6})
    if (auto done = dump(socket.get(), static_cast<std::uint8_t>(family), kind, out); !done) return done.error();
  return out;
}

}  // namespace hawser::netfilter
