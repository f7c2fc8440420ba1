// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

// What: one question to the kernel over netlink(7), and all of its answer. Threading: blocking, milliseconds; at most 2
// s for each part of an answer. Failure: an errno, for who asks to explain.
namespace hawser::netfilter {

// A message under construction, in a buffer that suffices for a header and a few attributes.
class NetlinkRequest {
 public:
  NetlinkRequest(std::uint16_t type, std::uint16_t flags);
  NetlinkRequest(const NetlinkRequest&) = delete;
  NetlinkRequest& operator=(const NetlinkRequest&) = delete;

  nlmsghdr* header() { return header_; }
  // What follows the header, with zeros.
  template <typename T>
  T* body() {
    return static_cast<T*>(::mnl_nlmsg_put_extra_header(header_, sizeof(T)));
  }

 private:
  alignas(nlmsghdr) std::array<char, 512> buffer_{};
  nlmsghdr* header_;
};

// A socket for more than one question. To close one of NETLINK_NETFILTER takes as long as the kernel needs to free what
// nf_tables deleted last, which is a grace period: about 10 ms (measured with Linux 6.18).
class NetlinkSocket {
 public:
  // Opened with the first question.
  explicit NetlinkSocket(int bus) : bus_(bus) {}
  // As ask_kernel().
  int ask(NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& each = {});

 private:
  struct Close {
    void operator()(mnl_socket* socket) const { ::mnl_socket_close(socket); }
  };
  using Socket = std::unique_ptr<mnl_socket, Close>;
  static Socket open(int bus);
  int converse(NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& each);

  int bus_;
  Socket socket_;
  std::uint32_t sequence_ = 0;
};

// `bus`: NETLINK_ROUTE, NETLINK_SOCK_DIAG, …; `each` gets every message of the answer. 0, or an errno; E2BIG for an
// answer without end.
int ask_kernel(int bus, NetlinkRequest& request, const std::function<void(const nlmsghdr*)>& each = {});

// Each attribute behind a body of this size.
void each_attribute(const nlmsghdr* header, std::size_t body, const std::function<void(const nlattr*)>& each);

}  // namespace hawser::netfilter
