// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/dns_probe.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <string>
#include <thread>

#include "in_namespace.h"
#include "netfilter/probe_socket.h"

namespace hawser::netfilter {
namespace {

struct Question {
  std::string bytes;
  sockaddr_storage from{};
};

// Port 53 of 127.0.0.1, in a namespace of the test's.
class Server {
 public:
  Server() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const SocketAddress here = socket_address("127.0.0.1", 53);
    EXPECT_EQ(::bind(socket_.get(), here.get(), here.length), 0);
    const timeval patience{5, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  Question next() const {
    Question out;
    char buffer[512];
    socklen_t length = sizeof out.from;
    const auto n = ::recvfrom(socket_.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&out.from), &length);
    if (n > 0) out.bytes.assign(buffer, static_cast<std::size_t>(n));
    return out;
  }
  void answer(Question to) const {
    to.bytes[2] = static_cast<char>(to.bytes[2] | 0x80);
    (void)::sendto(socket_.get(), to.bytes.data(), to.bytes.size(), 0, reinterpret_cast<const sockaddr*>(&to.from),
                   sizeof(sockaddr_in));
  }

 private:
  UniqueFd socket_;
};

void expect_error(int expected, const std::function<void(const Server&)>& serve) {
  in_namespace([&] {
    const Server server;
    std::thread serving([&] { serve(server); });
    EXPECT_EQ(ask_as(Prober(), parse_cidr("127.0.0.1").value()).error, expected);
    serving.join();
  });
}

TEST(DnsProbe, AsksForANameThatNeedsNoOtherServer) {
  expect_error(0, [](const Server& server) {
    const Question asked = server.next();
    EXPECT_NE(asked.bytes.find("\6hawser\7invalid"), std::string::npos);
    server.answer(asked);
  });
}

TEST(DnsProbe, ALateAnswerIsAnAnswer) {
  expect_error(0, [](const Server& server) {
    const Question first = server.next();
    (void)server.next();
    server.answer(first);
  });
}

TEST(DnsProbe, AnAnswerToSomethingElseIsNone) {
  expect_error(EBADMSG, [](const Server& server) {
    for (int i = 0; i < 2; ++i) {
      Question other = server.next();
      other.bytes[0] = static_cast<char>(other.bytes[0] + 1);
      server.answer(other);
    }
  });
}

TEST(DnsProbe, WhoDoesNotAnswerIsWaitedForASecond) {
  expect_error(ETIMEDOUT, [](const Server& server) {
    (void)server.next();
    (void)server.next();
  });
}

TEST(DnsProbe, WhereNobodyListensItIsRefused) {
  in_namespace([] { EXPECT_EQ(ask_as(Prober(), parse_cidr("127.0.0.1").value()).error, ECONNREFUSED); });
}

TEST(DnsProbe, WithoutARouteItIsTold) {
  in_namespace([] { EXPECT_EQ(ask_as(Prober(), parse_cidr("192.0.2.1").value()).error, ENETUNREACH); });
}

}  // namespace
}  // namespace hawser::netfilter
