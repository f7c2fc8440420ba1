// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/nft_socket.h"

#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <set>

#include "netfilter/netlink.h"

namespace hawser::netfilter {
namespace {

// The descriptors at the time are few and low: main opens the context before it serves anybody.
constexpr int kMaxDescriptor = 1024;
constexpr int kMaxLeftUnread = 4096;

int option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

std::set<int> nft_sockets() {
  std::set<int> out;
  for (int fd = 0; fd < kMaxDescriptor; ++fd)
    if (is_nft_socket(fd)) out.insert(fd);
  return out;
}

// A predecessor that was killed between a request and its answer left the answer in the queue.
void drain(int fd) {
  std::array<char, 8192> bytes{};
  for (int i = 0; i < kMaxLeftUnread; ++i) {
    const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_TRUNC);
    // ENOBUFS is an answer that was lost, told once.
    if (n < 0 && errno != EINTR && errno != ENOBUFS) return;
  }
}

}  // namespace

bool is_nft_socket(int fd) {
  return option(fd, SO_DOMAIN) == AF_NETLINK && option(fd, SO_PROTOCOL) == NETLINK_NETFILTER;
}

Status nftables_answer() {
  NetlinkRequest request((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, NLM_F_ACK);
  request.body<nfgenmsg>()->nfgen_family = AF_UNSPEC;
  const int err = ask_kernel(NETLINK_NETFILTER, request);
  if (err == 0) return {};
  if (err == EPERM || err == EACCES)
    return errno_error(err, "HWS-NF-010", "the kernel refused to tell about nftables",
                       "run the broker with CAP_NET_ADMIN");
  return errno_error(err, "HWS-NF-011", "the kernel has no nftables", "load the modules nfnetlink and nf_tables");
}

Result<NftContext> open_context() {
  if (auto answered = nftables_answer(); !answered) return answered.error();
  const auto before = nft_sockets();
  NftContext out;
  out.context = ::nft_ctx_new(NFT_CTX_DEFAULT);
  if (out.context == nullptr)
    return Error(Code::kInternal, "HWS-NF-011", "libnftables can't open a netlink socket",
                 "check that the kernel has nf_tables");
  for (const int fd : nft_sockets())
    if (before.count(fd) == 0) out.socket = fd;
  return out;
}

Status take_over(const NftContext& context, UniqueFd inherited) {
  if (context.socket < 0)
    return Error(Code::kFailedPrecondition, "HWS-NF-014", "the socket of libnftables can't be found",
                 "this version of libnftables works differently; rules are replaced under another name instead");
  // libnftables reads until nothing is left, which never returns from a socket that waits.
  const int flags = ::fcntl(inherited.get(), F_GETFL);
  if (flags < 0 || ::fcntl(inherited.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return errno_error(errno, "HWS-NF-014", "the stored nftables socket can't be taken over");
  drain(inherited.get());
  if (::dup3(inherited.get(), context.socket, O_CLOEXEC) < 0)
    return errno_error(errno, "HWS-NF-014", "the stored nftables socket can't be taken over");
  return {};
}

}  // namespace hawser::netfilter
