// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/dns_probe.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/backoff.h"
#include "base/fd.h"
#include "netfilter/probe_socket.h"

namespace hawser::netfilter {
namespace {

constexpr int kTries = 2;  // UDP may lose one
constexpr int kAnswerTimeMs = 500;

// RFC 1035 §4.1: a header with one question and "recursion desired", then hawser.invalid, type A, class IN.
constexpr char kQuestion[] =
    "\0\0\1\0\0\1\0\0\0\0\0\0"
    "\6hawser\7invalid\0\0\1\0\1";
using Message = std::array<char, sizeof kQuestion - 1>;

Message make_question() {
  Message out{};
  std::copy_n(kQuestion, out.size(), out.begin());
  const auto id = static_cast<std::uint16_t>(random_seed());
  std::memcpy(out.data(), &id, sizeof id);
  return out;
}

// An answer has the question's id and the bit QR (RFC 1035 §4.1.1). The kernel passes on what its server sent alone.
bool answers(const char* data, std::size_t size, const Message& question) {
  return size >= 12 && data[0] == question[0] && data[1] == question[1] && (data[2] & 0x80) != 0;
}

int ask_once(int fd, const Message& question) {
  if (::send(fd, question.data(), question.size(), 0) < 0) return errno;
  std::array<char, 512> buffer{};
  if (const int error = await(fd, POLLIN, kAnswerTimeMs); error != 0) return error;
  const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (n < 0) return errno;
  return answers(buffer.data(), static_cast<std::size_t>(n), question) ? 0 : EBADMSG;
}

}  // namespace

DnsAnswer ask_as(const Prober& prober, const Cidr& server) {
  constexpr std::uint16_t kServerPort = 53;
  const SocketAddress address = socket_address(server.text(), kServerPort);
  const UniqueFd fd = socket_of(prober, address.storage.ss_family, SOCK_DGRAM);
  if (!fd || ::connect(fd.get(), address.get(), address.length) != 0) return {errno};
  // The same question, so that a late answer to the first is one to the second.
  const Message question = make_question();
  int error = ETIMEDOUT;
  for (int i = 0; i < kTries && error != 0; ++i) error = ask_once(fd.get(), question);
  return {error};
}

}  // namespace hawser::netfilter
