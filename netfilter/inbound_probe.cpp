// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/inbound_probe.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <vector>

#include "base/backoff.h"
#include "base/fd.h"
#include "netfilter/plan.h"
#include "netfilter/veth.h"

namespace hawser::netfilter {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kAnswerTime = std::chrono::milliseconds(700);
constexpr auto kResendTime = std::chrono::milliseconds(150);

struct [[gnu::packed]] Segment {
  iphdr ip;
  tcphdr tcp;
};
struct [[gnu::packed]] Frame {
  ethhdr ethernet;
  Segment segment;
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

Frame make_segment(std::uint16_t source_port, std::uint32_t sequence, bool syn) {
  Frame frame{};
  std::memcpy(frame.ethernet.h_dest, kVethHostMac, ETH_ALEN);
  std::memcpy(frame.ethernet.h_source, kVethPeerMac, ETH_ALEN);
  frame.ethernet.h_proto = htons(ETH_P_IP);
  iphdr ip{};
  ip.version = 4;
  ip.ihl = 5;
  ip.ttl = 64;
  ip.protocol = IPPROTO_TCP;
  ip.tot_len = htons(sizeof(Segment));
  ip.saddr = ::inet_addr(kVethPeerAddress);
  ip.daddr = ::inet_addr(kVethHostAddress);
  ip.check = checksum(add_words(0, &ip, sizeof ip));
  tcphdr tcp{};
  tcp.source = htons(source_port);
  tcp.dest = htons(kProbePort);
  tcp.seq = htonl(sequence);
  tcp.doff = sizeof tcp / 4;
  tcp.syn = syn ? 1 : 0;
  tcp.rst = syn ? 0 : 1;
  tcp.window = htons(1024);
  std::uint32_t sum = add_words(0, &ip.saddr, sizeof ip.saddr + sizeof ip.daddr);
  sum += IPPROTO_TCP + static_cast<std::uint32_t>(sizeof tcp);
  tcp.check = checksum(add_words(sum, &tcp, sizeof tcp));
  frame.segment.ip = ip;
  frame.segment.tcp = tcp;
  return frame;
}

Error cannot(const std::string& what) {
  return errno_error(errno, "HWS-NF-021", what);
}

Result<UniqueFd> packet_socket() {
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_IP)));
  if (!fd) return cannot("can't open a packet socket");
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_IP);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(kProbeInjector));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return cannot("can't bind a packet socket");
  return fd;
}

Status send(int fd, const Frame& frame) {
  if (::send(fd, &frame, sizeof frame, 0) == static_cast<ssize_t>(sizeof frame)) return {};
  return cannot("can't inject a packet");
}

// The answer in a received frame, if it is one to our segment.
InboundAnswer read_answer(int fd, std::uint16_t source_port) {
  unsigned char buffer[2048];
  for (;;) {
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n < 0) return InboundAnswer::kNothing;
    if (static_cast<std::size_t>(n) < sizeof(Frame)) continue;
    Frame frame{};
    std::memcpy(&frame, buffer, sizeof frame);
    const iphdr ip = frame.segment.ip;
    const tcphdr tcp = frame.segment.tcp;
    // Our own frames are seen as well (PACKET_OUTGOING): those come from the peer's address.
    if (ip.ihl != 5 || ip.protocol != IPPROTO_TCP || ip.saddr != ::inet_addr(kVethHostAddress)) continue;
    if (ntohs(tcp.dest) != source_port || ntohs(tcp.source) != kProbePort) continue;
    if (tcp.rst != 0) return InboundAnswer::kRefused;
    if (tcp.syn != 0 && tcp.ack != 0) return InboundAnswer::kAccepted;
  }
}

Result<InboundAnswer> exchange(int fd, std::uint16_t source_port, std::uint32_t sequence) {
  const auto end = Clock::now() + kAnswerTime;
  while (Clock::now() < end) {
    // Sent again, since the first one may meet an interface that isn't running yet.
    if (auto sent = send(fd, make_segment(source_port, sequence, true)); !sent) return sent.error();
    pollfd item{fd, POLLIN, 0};
    const auto resend = Clock::now() + kResendTime;
    while (Clock::now() < resend) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(resend - Clock::now()).count();
      if (::poll(&item, 1, static_cast<int>(left)) <= 0) break;
      const InboundAnswer answer = read_answer(fd, source_port);
      if (answer != InboundAnswer::kNothing) return answer;
    }
  }
  return InboundAnswer::kNothing;
}

}  // namespace

Result<InboundAnswer> probe_inbound() {
  auto pair = VethPair::make(kProbeInjector, kProbeInterface);
  if (!pair) return pair.error();
  auto fd = packet_socket();
  if (!fd) return fd.error();
  std::mt19937_64 random(random_seed());
  const auto source_port = static_cast<std::uint16_t>(40000 + random() % 20000);
  const auto sequence = static_cast<std::uint32_t>(random());
  auto answer = exchange(fd->get(), source_port, sequence);
  // Ends the half-open connection in the listener's queue; nothing is lost if this one is.
  if (answer && *answer == InboundAnswer::kAccepted)
    (void)send(fd->get(), make_segment(source_port, sequence + 1, false));
  return answer;
}

}  // namespace hawser::netfilter
