// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/veth.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "netfilter/netlink.h"

namespace hawser::netfilter {
namespace {

constexpr std::uint16_t kMake = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

struct Address {
  std::uint8_t family;
  const char* text;
  std::uint8_t prefix;
};

int talk(NetlinkRequest& request) {
  return ask_kernel(NETLINK_ROUTE, request);
}

void put_address(NetlinkRequest& request, std::uint16_t attribute, const Address& address) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  ::inet_pton(address.family, address.text, bytes.data());
  ::mnl_attr_put(request.header(), attribute, address.family == AF_INET ? 4 : 16, bytes.data());
}

int create(const std::string& peer, const std::string& host) {
  NetlinkRequest request(RTM_NEWLINK, kMake);
  request.body<ifinfomsg>()->ifi_family = AF_UNSPEC;
  nlmsghdr* header = request.header();
  ::mnl_attr_put_strz(header, IFLA_IFNAME, peer.c_str());
  ::mnl_attr_put(header, IFLA_ADDRESS, ETH_ALEN, kVethPeerMac);
  nlattr* info = ::mnl_attr_nest_start(header, IFLA_LINKINFO);
  ::mnl_attr_put_strz(header, IFLA_INFO_KIND, "veth");
  nlattr* data = ::mnl_attr_nest_start(header, IFLA_INFO_DATA);
  nlattr* other = ::mnl_attr_nest_start(header, VETH_INFO_PEER);
  request.body<ifinfomsg>();
  ::mnl_attr_put_strz(header, IFLA_IFNAME, host.c_str());
  ::mnl_attr_put(header, IFLA_ADDRESS, ETH_ALEN, kVethHostMac);
  ::mnl_attr_nest_end(header, other);
  ::mnl_attr_nest_end(header, data);
  ::mnl_attr_nest_end(header, info);
  return talk(request);
}

int remove(const std::string& name) {
  NetlinkRequest request(RTM_DELLINK, NLM_F_ACK);
  request.body<ifinfomsg>()->ifi_family = AF_UNSPEC;
  ::mnl_attr_put_strz(request.header(), IFLA_IFNAME, name.c_str());
  return talk(request);
}

int set_up(unsigned index) {
  NetlinkRequest request(RTM_NEWLINK, NLM_F_ACK);
  auto* message = request.body<ifinfomsg>();
  message->ifi_family = AF_UNSPEC;
  message->ifi_index = static_cast<int>(index);
  message->ifi_flags = IFF_UP;
  message->ifi_change = IFF_UP;
  return talk(request);
}

int add_address(unsigned index, const Address& address) {
  NetlinkRequest request(RTM_NEWADDR, kMake);
  auto* message = request.body<ifaddrmsg>();
  message->ifa_family = address.family;
  message->ifa_prefixlen = address.prefix;
  message->ifa_flags = address.family == AF_INET6 ? IFA_F_NODAD : 0;
  message->ifa_index = index;
  put_address(request, IFA_LOCAL, address);
  put_address(request, IFA_ADDRESS, address);
  if (address.family == AF_INET6) {
    const ifa_cacheinfo deprecated{0, 0xffffffffU, 0, 0};
    ::mnl_attr_put(request.header(), IFA_CACHEINFO, sizeof deprecated, &deprecated);
  }
  return talk(request);
}

int add_neighbour(unsigned index, const Address& address) {
  NetlinkRequest request(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
  auto* message = request.body<ndmsg>();
  message->ndm_family = address.family;
  message->ndm_ifindex = static_cast<int>(index);
  message->ndm_state = NUD_PERMANENT;
  put_address(request, NDA_DST, address);
  ::mnl_attr_put(request.header(), NDA_LLADDR, ETH_ALEN, kVethPeerMac);
  return talk(request);
}

Error cannot(int err, const std::string& what) {
  return errno_error(err, "HWS-NF-021", what);
}

}  // namespace

Result<std::unique_ptr<VethPair>> VethPair::make(const std::string& peer, const std::string& host) {
  int err = create(peer, host);
  if (err == EEXIST) {
    (void)remove(peer);
    err = create(peer, host);
  }
  if (err != 0) return cannot(err, "can't make a veth pair");
  std::unique_ptr<VethPair> pair(new VethPair(peer));
  const unsigned host_index = ::if_nametoindex(host.c_str());
  const unsigned peer_index = ::if_nametoindex(peer.c_str());
  if (err = add_address(host_index, {AF_INET, kVethHostAddress, 30}); err != 0)
    return cannot(err, "can't add an address to a veth");
  if (err = set_up(host_index); err != 0) return cannot(err, "can't bring a veth up");
  if (err = set_up(peer_index); err != 0) return cannot(err, "can't bring a veth up");
  if (err = add_neighbour(host_index, {AF_INET, kVethPeerAddress, 30}); err != 0)
    return cannot(err, "can't add a neighbour to a veth");
  // IPv6 may be off on this host, or on its new interfaces.
  err = add_address(host_index, {AF_INET6, kVethHostAddress6, 126});
  if (err == 0) err = add_neighbour(host_index, {AF_INET6, kVethPeerAddress6, 126});
  if (err != 0) pair->without_ipv6_ = std::string("no IPv6 address on a veth: ") + std::strerror(err);
  return pair;
}

VethPair::~VethPair() {
  // Its other end, addresses, routes and neighbours go with it.
  (void)remove(peer_);
}

}  // namespace hawser::netfilter
