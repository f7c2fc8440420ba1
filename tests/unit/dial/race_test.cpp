// SPDX-License-Identifier: Apache-2.0
#include "dial/race.h"

#include <gtest/gtest.h>

#include <boost/asio/ip/tcp.hpp>
#include <optional>

namespace hawser::dial {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;

class RaceTest : public testing::Test {
 protected:
  std::optional<Race::Result> run(std::vector<std::string> addresses, std::chrono::milliseconds timeout = 2s) {
    std::optional<Race::Result> out;
    Race race(context, std::move(addresses), {50ms, timeout}, [&out](Race::Result result) { out = result; });
    context.restart();
    context.run_for(5s);
    return out;
  }
  std::string listening() {
    listeners.emplace_back(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    return "127.0.0.1:" + std::to_string(listeners.back().local_endpoint().port());
  }
  // Bound, not listening: refuses.
  std::string refusing() {
    sockets.emplace_back(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    return "127.0.0.1:" + std::to_string(sockets.back().local_endpoint().port());
  }
  // A full queue: the kernel of the other side says nothing.
  std::string silent() {
    tcp::acceptor full(context, tcp::v4());
    full.bind(tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    full.listen(0);
    const auto endpoint = full.local_endpoint();
    for (int i = 0; i < 4; ++i) {
      auto& filler = fillers.emplace_back(context, tcp::v4());
      filler.async_connect(endpoint, [](boost::system::error_code) {});
    }
    listeners.push_back(std::move(full));
    return "127.0.0.1:" + std::to_string(endpoint.port());
  }

  asio::io_context context;
  std::vector<tcp::acceptor> listeners;
  std::vector<tcp::socket> sockets;
  std::vector<tcp::socket> fillers;
};

TEST_F(RaceTest, TheFirstThatStandsWins) {
  const auto result = run({listening(), listening()});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->winner, 0u);
}

TEST_F(RaceTest, ARefusedOneHoldsNothingUp) {
  const auto begin = std::chrono::steady_clock::now();
  const auto result = run({refusing(), refusing(), listening()});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->winner, 2u);
  EXPECT_EQ(result->causes[0], "Connection refused");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(RaceTest, ASilentOneIsOvertaken) {
  const auto result = run({silent(), listening()});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->winner, 1u);
}

TEST_F(RaceTest, WithoutAWinnerEachCauseIsTold) {
  const auto result = run({silent(), refusing(), "nonsense"}, 300ms);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->winner, 3u);
  EXPECT_EQ(result->causes, (std::vector<std::string>{"no answer", "Connection refused", "not an address"}));
}

// A host without IPv6 has no route there, and says so at once.
TEST_F(RaceTest, AFamilyThatThisHostLacksFailsAtOnce) {
  const auto result = run({"[2001:db8::1]:1", listening()});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->winner, 1u);
}

TEST_F(RaceTest, ARaceThatIsDestroyedTellsNobody) {
  bool told = false;
  {
    Race race(context, {listening()}, {50ms, 1s}, [&told](Race::Result) { told = true; });
  }
  context.run_for(200ms);
  EXPECT_FALSE(told);
}

}  // namespace
}  // namespace hawser::dial
