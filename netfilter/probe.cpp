// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/fsuid.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "netfilter/inbound_probe.h"

namespace hawser::netfilter {
namespace {

constexpr int kConnectTimeoutMs = 800;

// Root may be exempt, and so would our probe be. Rules ask who made the socket (net/netfilter/nft_meta.c: f_cred of its
// file), so for that moment it's nobody, in this thread.
UniqueFd socket_of_nobody(int family) {
  constexpr uid_t kNobody = 65534;
  const int gid = ::setfsgid(kNobody);
  const int uid = ::setfsuid(kNobody);
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int error = errno;
  ::setfsuid(static_cast<uid_t>(uid));
  ::setfsgid(static_cast<gid_t>(gid));
  errno = error;
  return fd;
}

// 0, or the errno with which connect(2) ended.
int connect_errno(const sockaddr* address, socklen_t length) {
  UniqueFd fd = socket_of_nobody(address->sa_family);
  if (!fd) return errno;
  if (::connect(fd.get(), address, length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd item{fd.get(), POLLOUT, 0};
  int n = 0;
  do {
    n = ::poll(&item, 1, kConnectTimeoutMs);
  } while (n < 0 && errno == EINTR);
  if (n == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  if (n < 0 || ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

int connect4() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(kProbePort);
  ::inet_pton(AF_INET, kProbeAddress4, &address.sin_addr);
  return connect_errno(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

int connect6() {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(kProbePort);
  ::inet_pton(AF_INET6, kProbeAddress6, &address.sin6_addr);
  return connect_errno(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

std::uint64_t packets(Backend& backend, const std::string& counter) {
  auto now = backend.observe();
  if (!now) return 0;
  const auto at = now->listing.counters.find(counter);
  return at == now->listing.counters.end() ? 0 : at->second.packets;
}

bool no_ipv6(int error) {
  return error == ENETUNREACH || error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

ProbeResult judge(std::string name, int error, bool counted, std::uint16_t port) {
  const std::string listener = "the listener on port " + std::to_string(port);
  ProbeResult out{std::move(name), false, {}};
  if (error == 0 && counted) {
    out.passed = true;
    out.detail = "reached " + listener;
  } else if (error == 0) {
    out.detail =
        "connected, but not by our rule: something else listens on or redirects port " + std::to_string(kProbePort);
  } else if (counted) {
    out.detail = "redirected, but " + listener + " didn't answer: " + std::strerror(error);
  } else {
    out.detail = std::string("not redirected: ") + std::strerror(error);
  }
  return out;
}

ProbeResult probe_out(Backend& backend, const Plan& plan, Family family) {
  constexpr const char* kCounter = "out_probe";
  const bool v6 = family == Family::kIpv6;
  const std::uint64_t before = packets(backend, kCounter);
  const int error = v6 ? connect6() : connect4();
  if (v6 && no_ipv6(error)) return {"out6", true, "read back only: IPv6 is off on lo"};
  return judge(v6 ? "out6" : "out4", error, packets(backend, kCounter) > before, plan.outbound_port);
}

ProbeResult probe_in4(Backend& backend, const Plan& plan) {
  const std::uint64_t before = packets(backend, "in_probe");
  auto answer = probe_inbound();
  if (!answer) return {"in4", true, "read back only: " + answer.error().message()};
  const bool counted = packets(backend, "in_probe") > before;
  if (*answer == InboundAnswer::kNothing && counted)
    return {"in4", true, "redirected, but the answer was lost: another firewall may filter it"};
  if (*answer == InboundAnswer::kNothing)
    return {"in4", true, "read back only: the SYN was filtered in front of our rules"};
  return judge("in4", *answer == InboundAnswer::kAccepted ? 0 : ECONNREFUSED, counted, plan.inbound_port);
}

}  // namespace

std::vector<ProbeResult> probe(Backend& backend, const Plan& plan) {
  std::vector<ProbeResult> out;
  if (plan.outbound && plan.ipv4) out.push_back(probe_out(backend, plan, Family::kIpv4));
  if (plan.outbound && plan.ipv6) out.push_back(probe_out(backend, plan, Family::kIpv6));
  if (plan.inbound && plan.ipv4) out.push_back(probe_in4(backend, plan));
  if (plan.inbound && plan.ipv6) out.push_back({"in6", true, "read back only: inbound IPv6 isn't probed"});
  return out;
}

}  // namespace hawser::netfilter
