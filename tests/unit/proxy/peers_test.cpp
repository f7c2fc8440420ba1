// SPDX-License-Identifier: Apache-2.0
#include "proxy/peers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <optional>

namespace hawser::proxy {
namespace {

using boost::asio::ip::tcp;
using testing::IsEmpty;
using testing::SizeIs;

struct Pair {
  explicit Pair(const char* address) : acceptor(context, {boost::asio::ip::make_address(address), 0}), client(context) {
    client.connect({boost::asio::ip::make_address("127.0.0.1"), acceptor.local_endpoint().port()});
    server.emplace(acceptor.accept());
  }
  std::uint16_t port() const { return acceptor.local_endpoint().port(); }

  boost::asio::io_context context;
  tcp::acceptor acceptor;
  tcp::socket client;
  std::optional<tcp::socket> server;
};

TEST(Peers, TheKernelTellsWhoIsConnectedAndWhatWasSent) {
  Pair pair("127.0.0.1");
  std::array<char, 5> bytes{};
  boost::asio::write(pair.client, boost::asio::buffer(std::string("hello")));
  boost::asio::read(*pair.server, boost::asio::buffer(bytes));
  auto seen = observe_peers({pair.port()});
  ASSERT_TRUE(seen.has_value()) << seen.error().to_string();
  ASSERT_THAT(*seen, SizeIs(1)) << "the client's own end isn't at that port";
  const Peer& peer = seen->front();
  EXPECT_EQ(peer.address, "127.0.0.1");
  EXPECT_EQ(peer.port, pair.client.local_endpoint().port());
  EXPECT_EQ(peer.local_port, pair.port());
  EXPECT_EQ(peer.received, 5U);
  EXPECT_NE(peer.cookie, 0U);
  pair.client.close();
  pair.server->close();
  seen = observe_peers({pair.port()});
  EXPECT_THAT(*seen, IsEmpty());
}

TEST(Peers, Ipv4AtASocketOfBothIsToldAsIpv4) {
  Pair pair("::");
  const auto seen = observe_peers({pair.port()});
  ASSERT_TRUE(seen.has_value());
  ASSERT_THAT(*seen, SizeIs(1));
  EXPECT_EQ(seen->front().address, "127.0.0.1");
}

TEST(Peers, APortThatOnlyTheNameOfAListenerHasIsntTheProxys) {
  const Pair ours("127.0.0.1"), other("127.0.0.1");
  boost::asio::io_context context;
  tcp::acceptor closed(context, {boost::asio::ip::make_address("127.0.0.1"), 0});
  const auto nobodys = closed.local_endpoint().port();
  closed.close();
  const auto beside = ports_beside(ours.port(), {other.port(), nobodys});
  ASSERT_TRUE(beside.has_value()) << beside.error().to_string();
  EXPECT_THAT(*beside, testing::ElementsAre(other.port()));
  EXPECT_THAT(*ports_beside(nobodys, {other.port()}), IsEmpty());
}

TEST(Peers, ABookKnowsSinceWhenTheyAreSeenAndForgetsThoseThatWent) {
  using namespace std::chrono_literals;
  const Loop::Monotonic start{};
  PeerBook book;
  book.note({{.address = "a", .cookie = 2}}, start);
  book.note({{.address = "b", .cookie = 1}, {.address = "a", .received = 9, .cookie = 2}}, start + 1s);
  auto oldest = book.oldest(5);
  ASSERT_THAT(oldest, SizeIs(2));
  EXPECT_EQ(oldest[0].peer.address, "a");
  EXPECT_EQ(oldest[0].peer.received, 9U) << "as it was seen last";
  EXPECT_EQ(oldest[0].since, start);
  EXPECT_THAT(book.oldest(1), SizeIs(1));
  book.note({{.address = "b", .cookie = 1}}, start + 2s);
  oldest = book.oldest(5);
  ASSERT_THAT(oldest, SizeIs(1));
  EXPECT_EQ(oldest[0].since, start + 1s);
}

TEST(Peers, AListenersPortIsReadOffItsName) {
  EXPECT_EQ(listener_port("0.0.0.0_15006"), 15006);
  EXPECT_EQ(listener_port("[__]_15006"), 15006);
  EXPECT_EQ(listener_port("admin.main"), 0);
  EXPECT_EQ(listener_port("0.0.0.0_99999"), 0);
  EXPECT_EQ(listener_port("0.0.0.0_"), 0);
}

}  // namespace
}  // namespace hawser::proxy
