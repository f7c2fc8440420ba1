// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/inbound_probe.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <system_error>
#include <thread>
#include <type_traits>

#include "base/backoff.h"
#include "netfilter/plan.h"
#include "netfilter/veth.h"

namespace hawser::netfilter {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kAnswerTime = std::chrono::milliseconds(700);
// Doubled each time: the first segments meet an interface that isn't running yet.
constexpr auto kFirstResend = std::chrono::milliseconds(1);
constexpr auto kLastResend = std::chrono::milliseconds(150);

template <typename Ip>
struct [[gnu::packed]] Frame {
  ethhdr ethernet;
  Ip ip;
  tcphdr tcp;
};
using Frame4 = Frame<iphdr>;
using Frame6 = Frame<ip6_hdr>;

struct Flow {
  std::uint16_t source_port;
  std::uint32_t sequence;
};

std::uint32_t add_words(std::uint32_t sum, const void* data, std::size_t length) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i + 1 < length; i += 2) sum += static_cast<std::uint32_t>((bytes[i] << 8) | bytes[i + 1]);
  return sum;
}

std::uint16_t checksum(std::uint32_t sum) {
  while (sum > 0xffffU) sum = (sum & 0xffffU) + (sum >> 16U);
  return htons(static_cast<std::uint16_t>(~sum));
}

// `sum`: of both addresses, which the checksum covers too (RFC 9293 §3.1, RFC 8200 §8.1).
tcphdr make_tcp(const Flow& flow, bool syn, std::uint32_t sum) {
  tcphdr tcp{};
  tcp.source = htons(flow.source_port);
  tcp.dest = htons(kProbePort);
  tcp.seq = htonl(flow.sequence + (syn ? 0 : 1));
  tcp.doff = sizeof tcp / 4;
  tcp.syn = syn ? 1 : 0;
  tcp.rst = syn ? 0 : 1;
  tcp.window = htons(1024);
  sum += IPPROTO_TCP + static_cast<std::uint32_t>(sizeof tcp);
  tcp.check = checksum(add_words(sum, &tcp, sizeof tcp));
  return tcp;
}

template <typename Ip>
ethhdr make_ethernet() {
  ethhdr out{};
  std::memcpy(out.h_dest, kVethHostMac, ETH_ALEN);
  std::memcpy(out.h_source, kVethPeerMac, ETH_ALEN);
  out.h_proto = htons((std::is_same_v<Ip, iphdr>) ? ETH_P_IP : ETH_P_IPV6);
  return out;
}

template <typename F>
F make_frame(const Flow& flow, bool syn);

template <>
Frame4 make_frame<Frame4>(const Flow& flow, bool syn) {
  iphdr ip{};
  ip.version = 4;
  ip.ihl = 5;
  ip.ttl = 64;
  ip.protocol = IPPROTO_TCP;
  ip.tot_len = htons(sizeof(iphdr) + sizeof(tcphdr));
  ip.saddr = ::inet_addr(kVethPeerAddress);
  ip.daddr = ::inet_addr(kVethHostAddress);
  ip.check = checksum(add_words(0, &ip, sizeof ip));
  return {make_ethernet<iphdr>(), ip, make_tcp(flow, syn, add_words(0, &ip.saddr, sizeof ip.saddr + sizeof ip.daddr))};
}

template <>
Frame6 make_frame<Frame6>(const Flow& flow, bool syn) {
  ip6_hdr ip{};
  ip.ip6_flow = htonl(6U << 28U);
  ip.ip6_plen = htons(sizeof(tcphdr));
  ip.ip6_nxt = IPPROTO_TCP;
  ip.ip6_hlim = 64;
  ::inet_pton(AF_INET6, kVethPeerAddress6, &ip.ip6_src);
  ::inet_pton(AF_INET6, kVethHostAddress6, &ip.ip6_dst);
  return {make_ethernet<ip6_hdr>(), ip,
          make_tcp(flow, syn, add_words(0, &ip.ip6_src, sizeof ip.ip6_src + sizeof ip.ip6_dst))};
}

// Our own frames are seen as well (PACKET_OUTGOING): those come from the peer's address.
bool from_host(const iphdr& ip) {
  return ip.ihl == 5 && ip.protocol == IPPROTO_TCP && ip.saddr == ::inet_addr(kVethHostAddress);
}

bool from_host(const ip6_hdr& ip) {
  in6_addr host{};
  ::inet_pton(AF_INET6, kVethHostAddress6, &host);
  return ip.ip6_nxt == IPPROTO_TCP && std::memcmp(&ip.ip6_src, &host, sizeof host) == 0;
}

Error cannot(const std::string& what) {
  return errno_error(errno, "HWS-NF-021", what);
}

// Of all protocols, and of none until it's bound: to change what it listens to would cost a grace period of the kernel.
Result<UniqueFd> packet_socket() {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return cannot("can't open a packet socket");
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(kProbeInjector));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return cannot("can't bind a packet socket");
  return fd;
}

template <typename F>
Status send(int fd, const Flow& flow, bool syn) {
  const F frame = make_frame<F>(flow, syn);
  if (::send(fd, &frame, sizeof frame, 0) == static_cast<ssize_t>(sizeof frame)) return {};
  return cannot("can't inject a packet");
}

// The answer in a received frame, if it is one to our segment.
template <typename F>
InboundAnswer read_answer(int fd, const Flow& flow) {
  unsigned char buffer[2048];
  for (;;) {
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n < 0) return InboundAnswer::kNothing;
    if (static_cast<std::size_t>(n) < sizeof(F)) continue;
    F frame{};
    std::memcpy(&frame, buffer, sizeof frame);
    const auto ip = frame.ip;
    const tcphdr tcp = frame.tcp;
    if (frame.ethernet.h_proto != make_ethernet<std::decay_t<decltype(ip)>>().h_proto) continue;
    if (!from_host(ip) || ntohs(tcp.dest) != flow.source_port || ntohs(tcp.source) != kProbePort) continue;
    if (tcp.rst != 0) return InboundAnswer::kRefused;
    if (tcp.syn != 0 && tcp.ack != 0) return InboundAnswer::kAccepted;
  }
}

template <typename F>
Result<InboundAnswer> await_answer(int fd, const Flow& flow) {
  const auto end = Clock::now() + kAnswerTime;
  for (auto wait = kFirstResend; Clock::now() < end; wait = std::min(2 * wait, kLastResend)) {
    if (auto sent = send<F>(fd, flow, true); !sent) return sent.error();
    pollfd item{fd, POLLIN, 0};
    const auto resend = Clock::now() + wait;
    while (Clock::now() < resend) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(resend - Clock::now()).count();
      if (::poll(&item, 1, static_cast<int>(left)) <= 0) break;
      const InboundAnswer answer = read_answer<F>(fd, flow);
      if (answer != InboundAnswer::kNothing) return answer;
    }
  }
  return InboundAnswer::kNothing;
}

template <typename F>
Result<InboundAnswer> exchange(int fd) {
  std::mt19937_64 random(random_seed());
  const Flow flow{static_cast<std::uint16_t>(40000 + random() % 20000), static_cast<std::uint32_t>(random())};
  auto answer = await_answer<F>(fd, flow);
  // Ends the half-open connection in the listener's queue; nothing is lost if this one is.
  if (answer && *answer == InboundAnswer::kAccepted) (void)send<F>(fd, flow, false);
  return answer;
}

}  // namespace

InboundProbe::InboundProbe(std::unique_ptr<VethPair> pair, UniqueFd socket)
    : pair_(std::move(pair)), socket_(std::move(socket)) {}
InboundProbe::InboundProbe(InboundProbe&&) noexcept = default;

// To close such a socket and to remove an interface takes a grace period of the kernel, 10 ms and more: they wait at
// the same time.
InboundProbe::~InboundProbe() {
  if (!pair_) return;
  std::thread closing;
  try {
    closing = std::thread([fd = std::move(socket_)]() mutable { fd.reset(); });
  } catch (const std::system_error&) {
    // Then one after the other.
  }
  pair_.reset();
  if (closing.joinable()) closing.join();
}

Result<InboundProbe> InboundProbe::make() {
  auto pair = VethPair::make(kProbeInjector, kProbeInterface);
  if (!pair) return pair.error();
  auto socket = packet_socket();
  if (!socket) return socket.error();
  return InboundProbe(std::move(*pair), std::move(*socket));
}

Result<InboundAnswer> InboundProbe::ask(Family family) const {
  if (family == Family::kIpv4) return exchange<Frame4>(socket_.get());
  if (!pair_->without_ipv6().empty()) return Error(Code::kUnavailable, "HWS-NF-021", pair_->without_ipv6());
  return exchange<Frame6>(socket_.get());
}

}  // namespace hawser::netfilter
