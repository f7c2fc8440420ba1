// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/veth.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <cerrno>

namespace hawser::netfilter {
namespace {

// One rtnetlink request under construction.
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags) {
    header_ = ::mnl_nlmsg_put_header(buffer_);
    header_->nlmsg_type = type;
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  }

  nlmsghdr* header() { return header_; }
  template <typename T>
  T* body() {
    return static_cast<T*>(::mnl_nlmsg_put_extra_header(header_, sizeof(T)));
  }

  // Sends it and waits for the kernel's acknowledgement, which comes at once.
  int talk(mnl_socket* socket) {
    alignas(nlmsghdr) char answer[4096];
    if (::mnl_socket_sendto(socket, header_, header_->nlmsg_len) < 0) return errno;
    const ssize_t n = ::mnl_socket_recvfrom(socket, answer, sizeof answer);
    if (n < 0) return errno;
    const int rc =
        ::mnl_cb_run(answer, static_cast<std::size_t>(n), 0, ::mnl_socket_get_portid(socket), nullptr, nullptr);
    return rc < 0 ? errno : 0;
  }

 private:
  alignas(nlmsghdr) char buffer_[1024] = {};
  nlmsghdr* header_ = nullptr;
};

int create(mnl_socket* socket, const std::string& peer, const std::string& host) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  request.body<ifinfomsg>()->ifi_family = AF_UNSPEC;
  nlmsghdr* header = request.header();
  ::mnl_attr_put_strz(header, IFLA_IFNAME, peer.c_str());
  ::mnl_attr_put(header, IFLA_ADDRESS, ETH_ALEN, kVethPeerMac);
  nlattr* info = ::mnl_attr_nest_start(header, IFLA_LINKINFO);
  ::mnl_attr_put_strz(header, IFLA_INFO_KIND, "veth");
  nlattr* data = ::mnl_attr_nest_start(header, IFLA_INFO_DATA);
  nlattr* other = ::mnl_attr_nest_start(header, VETH_INFO_PEER);
  ::mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg));
  ::mnl_attr_put_strz(header, IFLA_IFNAME, host.c_str());
  ::mnl_attr_put(header, IFLA_ADDRESS, ETH_ALEN, kVethHostMac);
  ::mnl_attr_nest_end(header, other);
  ::mnl_attr_nest_end(header, data);
  ::mnl_attr_nest_end(header, info);
  return request.talk(socket);
}

int remove(mnl_socket* socket, const std::string& name) {
  Request request(RTM_DELLINK, 0);
  request.body<ifinfomsg>()->ifi_family = AF_UNSPEC;
  ::mnl_attr_put_strz(request.header(), IFLA_IFNAME, name.c_str());
  return request.talk(socket);
}

int set_up(mnl_socket* socket, unsigned index) {
  Request request(RTM_NEWLINK, 0);
  auto* message = request.body<ifinfomsg>();
  message->ifi_family = AF_UNSPEC;
  message->ifi_index = static_cast<int>(index);
  message->ifi_flags = IFF_UP;
  message->ifi_change = IFF_UP;
  return request.talk(socket);
}

int add_address(mnl_socket* socket, unsigned index) {
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  auto* message = request.body<ifaddrmsg>();
  message->ifa_family = AF_INET;
  message->ifa_prefixlen = 30;
  message->ifa_index = index;
  const in_addr_t address = ::inet_addr(kVethHostAddress);
  ::mnl_attr_put(request.header(), IFA_LOCAL, sizeof address, &address);
  ::mnl_attr_put(request.header(), IFA_ADDRESS, sizeof address, &address);
  return request.talk(socket);
}

int add_neighbour(mnl_socket* socket, unsigned index) {
  Request request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  auto* message = request.body<ndmsg>();
  message->ndm_family = AF_INET;
  message->ndm_ifindex = static_cast<int>(index);
  message->ndm_state = NUD_PERMANENT;
  const in_addr_t address = ::inet_addr(kVethPeerAddress);
  ::mnl_attr_put(request.header(), NDA_DST, sizeof address, &address);
  ::mnl_attr_put(request.header(), NDA_LLADDR, ETH_ALEN, kVethPeerMac);
  return request.talk(socket);
}

Error cannot(int err, const std::string& what) {
  return errno_error(err, "HWS-NF-021", what);
}

}  // namespace

Result<std::unique_ptr<VethPair>> VethPair::make(const std::string& peer, const std::string& host) {
  mnl_socket* socket = ::mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
  if (socket == nullptr) return cannot(errno, "can't open a netlink socket");
  if (::mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
    const int err = errno;
    ::mnl_socket_close(socket);
    return cannot(err, "can't bind a netlink socket");
  }
  int err = create(socket, peer, host);
  if (err == EEXIST) {
    (void)remove(socket, peer);
    err = create(socket, peer, host);
  }
  if (err != 0) {
    ::mnl_socket_close(socket);
    return cannot(err, "can't make a veth pair");
  }
  std::unique_ptr<VethPair> pair(new VethPair(socket, peer));
  const unsigned host_index = ::if_nametoindex(host.c_str());
  const unsigned peer_index = ::if_nametoindex(peer.c_str());
  if (err = add_address(socket, host_index); err != 0) return cannot(err, "can't add an address to a veth");
  if (err = set_up(socket, host_index); err != 0) return cannot(err, "can't bring a veth up");
  if (err = set_up(socket, peer_index); err != 0) return cannot(err, "can't bring a veth up");
  if (err = add_neighbour(socket, host_index); err != 0) return cannot(err, "can't add a neighbour to a veth");
  return pair;
}

VethPair::~VethPair() {
  // Its other end, address, routes and neighbour go with it.
  (void)remove(socket_, peer_);
  ::mnl_socket_close(socket_);
}

}  // namespace hawser::netfilter
