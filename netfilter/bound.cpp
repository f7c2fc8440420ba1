// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/bound.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <memory>

namespace hawser::netfilter {
namespace {

constexpr int kMaxReads = 65536;

struct CloseSocket {
  void operator()(mnl_socket* socket) const { ::mnl_socket_close(socket); }
};

struct Search {
  std::uint16_t port = 0;
  bool found = false;
};

int on_socket(const nlmsghdr* header, void* data) {
  auto* search = static_cast<Search*>(data);
  const auto* message = static_cast<const inet_diag_msg*>(::mnl_nlmsg_get_payload(header));
  if (ntohs(message->id.idiag_sport) == search->port) search->found = true;
  return MNL_CB_OK;
}

int look(mnl_socket* socket, std::uint8_t family, Search& search) {
  alignas(nlmsghdr) std::array<char, 32768> buffer{};
  nlmsghdr* header = ::mnl_nlmsg_put_header(buffer.data());
  header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* request = static_cast<inet_diag_req_v2*>(::mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
  request->sdiag_family = family;
  request->sdiag_protocol = IPPROTO_UDP;
  request->idiag_states = ~0U;
  if (::mnl_socket_sendto(socket, header, header->nlmsg_len) < 0) return errno;
  for (int i = 0; i < kMaxReads; ++i) {
    const ssize_t n = ::mnl_socket_recvfrom(socket, buffer.data(), buffer.size());
    if (n < 0) return errno;
    const int rc = ::mnl_cb_run(buffer.data(), static_cast<std::size_t>(n), 0, ::mnl_socket_get_portid(socket),
                                on_socket, &search);
    if (rc < 0) return errno;
    if (rc == MNL_CB_STOP) return 0;
  }
  return EOVERFLOW;
}

}  // namespace

Result<bool> observe_bound_udp(std::uint16_t port) {
  const auto cannot = [](int err) {
    return errno_error(err, "HWS-NF-020", "can't list sockets", "the kernel needs inet_diag and udp_diag");
  };
  std::unique_ptr<mnl_socket, CloseSocket> socket(::mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC));
  if (!socket || ::mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return cannot(errno);
  Search search{port, false};
  for (const int family : {AF_INET, AF_INET6})
    if (const int err = look(socket.get(), static_cast<std::uint8_t>(family), search); err != 0) return cannot(err);
  return search.found;
}

}  // namespace hawser::netfilter
