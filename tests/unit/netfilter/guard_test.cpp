// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/guard.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/fd.h"
#include "netfilter/resolvers.h"
#include "netfilter/sockets.h"
#include "netfilter/ssh_guard.h"
#include "netfilter/sshd_config.h"

namespace hawser::netfilter {
namespace {

using Ports = std::vector<std::uint16_t>;

TEST(Guard, PortLinesOfSshdConfigAreRead) {
  EXPECT_EQ(parse_ssh_ports("Port 2222\n#Port 99\n port=2022\nPORT 2222\nPortable 5\n"), (Ports{2222, 2022}));
}

TEST(Guard, ListenAddressMayNameAPort) {
  EXPECT_EQ(parse_ssh_ports("ListenAddress 0.0.0.0:2200\nListenAddress [::]:2201\nListenAddress host:2202\n"),
            (Ports{2200, 2201, 2202}));
  EXPECT_EQ(parse_ssh_ports("ListenAddress ::\nListenAddress 10.0.0.1\nListenAddress fd00::22\n"), Ports{});
}

TEST(Guard, NonsenseNamesNoPort) {
  EXPECT_EQ(parse_ssh_ports("Port\nPort x\nPort 70000\nPort 0\n"), Ports{});
}

TEST(Guard, ListenLinesOfSocketUnitsAreRead) {
  EXPECT_EQ(parse_listen_ports("[Socket]\nListenStream=\nListenStream=0.0.0.0:2222\nListenStream=[::]:2223\n"
                               "ListenStream=22\nListenStream=/run/ssh.sock\n#ListenStream=99\n"),
            (Ports{2222, 2223, 22}));
}

TEST(Guard, NameserverLinesAreReadWithoutZones) {
  EXPECT_EQ(parse_resolvers("search corp\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n# nameserver 1.1.1.1\n"
                            "nameserver ten\nnameserver 10.0.0.0/8\nnameserver 127.0.0.53 # again\n"),
            (std::vector<std::string>{"127.0.0.53", "fe80::1"}));
}

// A listener on a free loopback port with one connection to it.
struct Pair {
  UniqueFd listener, client, server;
  std::uint16_t port = 0;
};

Pair connect_pair() {
  Pair pair;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  pair.listener = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::bind(pair.listener.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(::listen(pair.listener.get(), 1), 0);
  ::getsockname(pair.listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
  pair.port = ntohs(address.sin_port);
  pair.client = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(pair.client.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  pair.server = UniqueFd(::accept4(pair.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return pair;
}

TEST(Guard, SocketsAreListedWithTheirOwner) {
  Pair pair = connect_pair();
  const auto listening = observe_sockets(SocketKind::kTcpListening);
  ASSERT_TRUE(listening) << listening.error().to_string();
  const auto at = std::find_if(listening->begin(), listening->end(),
                               [&pair](const SocketFacts& socket) { return socket.port == pair.port; });
  ASSERT_NE(at, listening->end());
  EXPECT_EQ(at->address, parse_cidr("127.0.0.1").value());
  EXPECT_EQ(at->uid, ::geteuid());
  EXPECT_NE(at->inode, 0U);
}

TEST(Guard, EstablishedConnectionsToTheProxysPortsAreCounted) {
  Pair pair = connect_pair();
  auto found = observe_redirected(pair.port, 1);
  ASSERT_TRUE(found) << found.error().to_string();
  EXPECT_EQ(*found, 1U);
  EXPECT_EQ(observe_redirected(1, pair.port).value(), 1U);
}

TEST(Guard, ListenersAreNotConnections) {
  Pair pair = connect_pair();
  // The server's end closes first and hard, so that nothing lingers on this port.
  const linger hard{1, 0};
  ::setsockopt(pair.server.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  pair.server.reset();
  EXPECT_EQ(observe_redirected(pair.port, 1).value(), 0U);
}

}  // namespace
}  // namespace hawser::netfilter
