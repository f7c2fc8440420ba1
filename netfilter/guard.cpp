// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/guard.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <memory>

#include "netfilter/resolvers.h"
#include "netfilter/ssh_guard.h"

namespace hawser::netfilter {
namespace {

struct CloseSocket {
  void operator()(mnl_socket* socket) const { ::mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, CloseSocket>;

struct Count {
  std::uint16_t outbound = 0;
  std::uint16_t inbound = 0;
  std::size_t found = 0;
};

int count_socket(const nlmsghdr* header, void* data) {
  auto* count = static_cast<Count*>(data);
  const auto* message = static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(header));
  const std::uint16_t local = ntohs(message->id.idiag_sport);
  if (local == count->outbound || local == count->inbound) ++count->found;
  return MNL_CB_OK;
}

constexpr std::uint32_t kListening = 1U << TCP_LISTEN;
constexpr std::uint32_t kConnected = (1U << TCP_ESTABLISHED) | (1U << TCP_SYN_RECV) | (1U << TCP_FIN_WAIT1) |
                                     (1U << TCP_FIN_WAIT2) | (1U << TCP_CLOSE_WAIT) | (1U << TCP_LAST_ACK) |
                                     (1U << TCP_CLOSING);

Error diag_error(int err) {
  return errno_error(err, "HWS-NF-020", "can't list sockets", "the kernel needs inet_diag and tcp_diag");
}

Status dump(mnl_socket* socket, std::uint8_t family, std::uint32_t states, Count& count) {
  alignas(nlmsghdr) char buffer[32768] = {};
  nlmsghdr* header = ::mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* request = static_cast<inet_diag_req_v2*>(::mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
  request->sdiag_family = family;
  request->sdiag_protocol = IPPROTO_TCP;
  request->idiag_states = states;
  if (::mnl_socket_sendto(socket, header, header->nlmsg_len) < 0) return diag_error(errno);
  for (;;) {
    const ssize_t n = ::mnl_socket_recvfrom(socket, buffer, sizeof buffer);
    if (n < 0) return diag_error(errno);
    const int rc =
        ::mnl_cb_run(buffer, static_cast<std::size_t>(n), 0, ::mnl_socket_get_portid(socket), count_socket, &count);
    if (rc < 0) return diag_error(errno);
    if (rc == MNL_CB_STOP) return {};
  }
}

Result<std::size_t> count_sockets(std::uint16_t port, std::uint16_t other_port, std::uint32_t states) {
  Socket socket(::mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC));
  if (!socket) return diag_error(errno);
  if (::mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return diag_error(errno);
  Count count{port, other_port, 0};
  for (const int family : {AF_INET, AF_INET6})
    if (auto done = dump(socket.get(), static_cast<std::uint8_t>(family), states, count); !done) return done.error();
  return count.found;
}

}  // namespace

Guard observe_guard() {
  Guard guard;
  guard.ssh_ports = observe_ssh_ports();
  observe_resolvers(guard);
  return guard;
}

Result<std::size_t> observe_redirected(std::uint16_t outbound_port, std::uint16_t inbound_port) {
  return count_sockets(outbound_port, inbound_port, kConnected);
}

Result<bool> observe_listening(std::uint16_t port) {
  auto found = count_sockets(port, port, kListening);
  if (!found) return found.error();
  return *found > 0;
}

}  // namespace hawser::netfilter
