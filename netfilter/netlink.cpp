// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/netlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <vector>

namespace hawser::netfilter {
namespace {

constexpr timeval kPatience{2, 0};
constexpr std::size_t kMaxReads = 65536;
constexpr std::size_t kAnswer = 32768;

int on_message(const nlmsghdr* header, void* data) {
  const auto& each = *static_cast<const std::function<void(const nlmsghdr*)>*>(data);
  if (each) each(header);
  return MNL_CB_OK;
}

int on_attribute(const nlattr* attribute, void* data) {
  (*static_cast<const std::function<void(const nlattr*)>*>(data))(attribute);
  return MNL_CB_OK;
}

// libmnl hands back what it's given, as void*.
template <typename T>
void* opaque(const T& value) {
  return const_cast<void*>(static_cast<const void*>(&value));
}

}  // namespace

NetlinkRequest::NetlinkRequest(std::uint16_t type, std::uint16_t flags)
    : header_(::mnl_nlmsg_put_header(buffer_.data())) {
  header_->nlmsg_type = type;
  header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

NetlinkSocket::Socket NetlinkSocket::open(int bus) {
  Socket socket(::mnl_socket_open2(bus, SOCK_CLOEXEC));
  if (!socket || ::mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return {};
  (void)::setsockopt(::mnl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  // Where the kernel can, it filters what is asked for; else who asks does.
  int filtered = 1;
  (void)::mnl_socket_setsockopt(socket.get(), NETLINK_GET_STRICT_CHK, &filtered, sizeof filtered);
  return socket;
}

int NetlinkSocket::ask(NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& each) {
  if (!socket_) socket_ = open(bus_);
  if (!socket_) return errno;
  const int error = converse(request, each);
  // The rest of an answer mustn't be taken for the next one's.
  if (error != 0) socket_.reset();
  return error;
}

int NetlinkSocket::converse(NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& each) {
  request.header()->nlmsg_seq = ++sequence_;
  if (::mnl_socket_sendto(socket_.get(), request.header(), request.header()->nlmsg_len) < 0) return errno;
  std::vector<char> answer(kAnswer);
  for (std::size_t i = 0; i < kMaxReads; ++i) {
    const ssize_t n = ::mnl_socket_recvfrom(socket_.get(), answer.data(), answer.size());
    if (n < 0) return errno;
    const int rc = ::mnl_cb_run(answer.data(), static_cast<std::size_t>(n), sequence_,
                                ::mnl_socket_get_portid(socket_.get()), on_message, opaque(each));
    if (rc < 0) return errno;
    if (rc == MNL_CB_STOP) return 0;
  }
  return E2BIG;
}

int ask_kernel(int bus, NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& each) {
  return NetlinkSocket(bus).ask(request, each);
}

void each_attribute(const nlmsghdr* header, std::size_t body, const std::function<void(const nlattr*)>& each) {
  (void)::mnl_attr_parse(header, static_cast<unsigned>(body), on_attribute, opaque(each));
}

}  // namespace hawser::netfilter
