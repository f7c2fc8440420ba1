// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/conntrack.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "netfilter/evaluate.h"
#include "netfilter/netlink.h"

namespace hawser::netfilter {
namespace {

constexpr std::size_t kMaxForgotten = 16384;
constexpr timeval kPatience{1, 0};

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* what) const {
    Free(what);
  }
};
using Handle = std::unique_ptr<nfct_handle, Freed<::nfct_close>>;
using Filter = std::unique_ptr<nfct_filter_dump, Freed<::nfct_filter_dump_destroy>>;
using Entry = std::unique_ptr<nf_conntrack, Freed<::nfct_destroy>>;

// include/uapi/linux/netfilter/nf_conntrack_common.h. The kernel refuses a filter for bits that are all unset.
constexpr std::uint32_t kUnwanted = IPS_SEEN_REPLY | IPS_SRC_NAT | IPS_DST_NAT;
constexpr nfct_filter_dump_mark kUnanswered{IPS_CONFIRMED, IPS_CONFIRMED | kUnwanted};

struct Search {
  const Plan& plan;
  std::vector<Cidr> own;
  std::vector<Entry> found;
};

Cidr single(int family, const void* bytes) {
  Cidr out;
  out.family = family == AF_INET6 ? Family::kIpv6 : Family::kIpv4;
  out.prefix = family == AF_INET6 ? 128 : 32;
  if (bytes != nullptr) std::copy_n(static_cast<const std::uint8_t*>(bytes), out.prefix / 8, out.bytes.begin());
  return out;
}

Cidr address(const nf_conntrack* entry, nf_conntrack_attr ipv4, nf_conntrack_attr ipv6) {
  const int family = ::nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO);
  return single(family, ::nfct_get_attr(entry, family == AF_INET6 ? ipv6 : ipv4));
}

// The output hook sees what this host opens; what it routes for others isn't the plan's.
std::vector<Cidr> own_addresses() {
  std::vector<Cidr> out{parse_cidr("127.0.0.0/8").value()};
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return out;
  const std::unique_ptr<ifaddrs, Freed<::freeifaddrs>> guard(all);
  for (const ifaddrs* item = all; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr) continue;
    if (item->ifa_addr->sa_family == AF_INET)
      out.push_back(single(AF_INET, &reinterpret_cast<const sockaddr_in*>(item->ifa_addr)->sin_addr));
    if (item->ifa_addr->sa_family == AF_INET6)
      out.push_back(single(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(item->ifa_addr)->sin6_addr));
  }
  return out;
}

bool unanswered_open(const nf_conntrack* entry) {
  return ::nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO) == IPPROTO_TCP &&
         ::nfct_get_attr_u8(entry, ATTR_TCP_STATE) == TCP_CONNTRACK_SYN_SENT &&
         (::nfct_get_attr_u32(entry, ATTR_STATUS) & kUnwanted) == 0;  // a kernel before 5.13 doesn't filter
}

bool is_own(const Search& search, const Cidr& address) {
  return std::any_of(search.own.begin(), search.own.end(), [&](const Cidr& own) { return own.contains(address); });
}

int consider(nf_conntrack_msg_type /*type*/, nf_conntrack* entry, void* data) {
  auto& search = *static_cast<Search*>(data);
  if (search.found.size() >= kMaxForgotten) return NFCT_CB_STOP;
  if (!unanswered_open(entry)) return NFCT_CB_CONTINUE;
  const Cidr source = address(entry, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC);
  if (!is_own(search, source)) return NFCT_CB_CONTINUE;
  const Cidr destination = address(entry, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST);
  const Opening opening{destination, ntohs(::nfct_get_attr_u16(entry, ATTR_ORIG_PORT_SRC)),
                        ntohs(::nfct_get_attr_u16(entry, ATTR_ORIG_PORT_DST)), is_own(search, destination)};
  if (may_capture(search.plan, opening)) search.found.emplace_back(::nfct_clone(entry));
  return NFCT_CB_CONTINUE;
}

Error failed(int error) {
  return errno_error(error, "HWS-NF-015", "the kernel's connection tracking can't be asked",
                     "load the module nf_conntrack_netlink");
}

// The library leaves its socket to be inherited.
Handle open_handle() {
  Handle handle(::nfct_open(CONNTRACK, 0));
  if (!handle) return handle;
  (void)::fcntl(::nfct_fd(handle.get()), F_SETFD, FD_CLOEXEC);
  (void)::setsockopt(::nfct_fd(handle.get()), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  return handle;
}

// 0, or an errno.
int find(nfct_handle* handle, Search& search) {
  const Filter filter(::nfct_filter_dump_create());
  if (!filter) return ENOMEM;
  ::nfct_filter_dump_set_attr(filter.get(), NFCT_FILTER_DUMP_STATUS, &kUnanswered);
  ::nfct_callback_register(handle, NFCT_T_ALL, consider, &search);
  const int rc = ::nfct_query(handle, NFCT_Q_DUMP_FILTER, filter.get());
  const int error = errno;
  ::nfct_callback_unregister(handle);
  return rc < 0 ? error : 0;
}

// To look for them is to walk the whole table of all namespaces: 5 ms for 262,144 buckets.
bool tracks_none(NetlinkSocket& asking) {
  NetlinkRequest request((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET_STATS, NLM_F_ACK);
  request.body<nfgenmsg>()->version = NFNETLINK_V0;
  std::uint32_t entries = 1;
  const int error = asking.ask(request, [&entries](const nlmsghdr* header) {
    if (::mnl_nlmsg_get_payload_len(header) < sizeof(nfgenmsg)) return;
    each_attribute(header, sizeof(nfgenmsg), [&entries](const nlattr* attribute) {
      if (::mnl_attr_get_type(attribute) == CTA_STATS_GLOBAL_ENTRIES &&
          ::mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
        entries = ntohl(::mnl_attr_get_u32(attribute));
    });
  });
  return error == 0 && entries == 0;
}

}  // namespace

struct ConnectionTracking::Sockets {
  NetlinkSocket asking{NETLINK_NETFILTER};
  Handle finder;
  Handle remover;
};

ConnectionTracking::ConnectionTracking() : sockets_(std::make_unique<Sockets>()) {}
ConnectionTracking::~ConnectionTracking() = default;

Result<std::size_t> ConnectionTracking::forget_unanswered(const Plan& plan) {
  if (!plan.outbound || tracks_none(sockets_->asking)) return std::size_t{0};
  Handle& finder = sockets_->finder;
  if (!finder) finder = open_handle();
  if (!finder) return failed(errno);
  Search search{plan, own_addresses(), {}};
  const int error = find(finder.get(), search);
  // What it hasn't read mustn't be the next one's answer.
  if (error != 0 || search.found.size() >= kMaxForgotten) finder.reset();
  if (error != 0) return failed(error);
  if (search.found.empty()) return std::size_t{0};
  Handle& remover = sockets_->remover;
  if (!remover) remover = open_handle();
  if (!remover) return failed(errno);
  std::size_t forgotten = 0;
  for (const Entry& entry : search.found) {
    if (!entry) continue;
    if (::nfct_query(remover.get(), NFCT_Q_DESTROY, entry.get()) == 0) {
      ++forgotten;
    } else if (errno != ENOENT) {  // it ended by itself
      const int refused = errno;
      remover.reset();
      return failed(refused);
    }
  }
  return forgotten;
}

}  // namespace hawser::netfilter
