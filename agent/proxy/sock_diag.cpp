// SPDX-License-Identifier: Apache-2.0
#include "proxy/sock_diag.h"

#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>

#include "base/fd.h"

namespace hawser::proxy {
namespace {

using Visit = std::function<void(const inet_diag_msg&, const nlmsghdr&)>;

Error failed(int err, const char* what) {
  return errno_error(err, "HWS-PX-008", what, "hawserd needs AF_NETLINK sockets");
}

Status ask(int fd, unsigned char family, const TcpQuery& query) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = family;
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = query.states;
  message.request.idiag_ext = query.extensions;
  message.request.id.idiag_sport = htons(query.port);
  if (::send(fd, &message, sizeof message, 0) != static_cast<ssize_t>(sizeof message))
    return failed(errno, "can't ask the kernel for sockets");
  return {};
}

// True when the dump's end has been seen.
Result<bool> take(char* bytes, std::size_t size, const Visit& visit) {
  auto left = static_cast<unsigned>(size);
  for (auto* header = reinterpret_cast<nlmsghdr*>(bytes); NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_type == NLMSG_DONE) return true;
    if (header->nlmsg_type == NLMSG_ERROR) {
      if (header->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return failed(EPROTO, "the kernel's answer is cut off");
      return failed(-static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error, "the kernel won't list sockets");
    }
    if (header->nlmsg_type == SOCK_DIAG_BY_FAMILY && header->nlmsg_len >= NLMSG_LENGTH(sizeof(inet_diag_msg)))
      visit(*static_cast<const inet_diag_msg*>(NLMSG_DATA(header)), *header);
  }
  return false;
}

Status dump(int fd, unsigned char family, const TcpQuery& query, const Visit& visit) {
  if (auto asked = ask(fd, family, query); !asked) return asked;
  alignas(nlmsghdr) std::array<char, 32768> bytes;
  for (;;) {
    const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed(n == 0 ? EPROTO : errno, "no answer from the kernel on sockets");
    const auto done = take(bytes.data(), static_cast<std::size_t>(n), visit);
    if (!done) return done.error();
    if (*done) return {};
  }
}

}  // namespace

Status visit_tcp(const TcpQuery& query, const Visit& visit) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return failed(errno, "can't open a sock_diag socket");
  const timeval limit{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  for (const auto family : {static_cast<unsigned char>(AF_INET), static_cast<unsigned char>(AF_INET6)})
    if (auto dumped = dump(fd.get(), family, query, visit); !dumped) return dumped;
  return {};
}

}  // namespace hawser::proxy
