// SPDX-License-Identifier: Apache-2.0
// How the relay follows a control plane that ends connections or has nothing to say.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "ads_client.h"
#include "ads_server.h"
#include "messages.h"
#include "relay_host.h"
#include "xds/reconnect_policy.h"
#include "xds/relay.h"

namespace hawser::xds::test {
namespace {

using namespace std::chrono_literals;

class RelayReconnectTest : public testing::Test {
 protected:
  UpstreamOptions upstream() const {
    UpstreamOptions options = upstream_to(plane.port(), certificates.root_pem);
    options.drain_poll = 20ms;
    return options;
  }
  void start(const UpstreamOptions& options) {
    host.call([&] { host.relay().on_connected([this](bool connected) { (connected ? ups : downs) += 1; }); });
    host.start(options);
  }
  // Clusters and listeners with versions, on the newest stream.
  void give_all(const std::string& nonce) {
    ASSERT_TRUE(plane.expect(kListenerType));
    plane.push(plane_response(kClusterType, nonce + "c", {{"a", "1"}}, {}, "v"));
    plane.push(plane_response(kListenerType, nonce + "l", {{"b", "1"}}, {}, "v"));
    ASSERT_TRUE(host.wait([](const Relay::Status& status) {
      return status.types.size() >= 2 && status.types[0].resources == 1 && status.types[1].resources == 1;
    }));
  }

  TestCertificates certificates = make_certificates(kPlaneName);
  AdsServer plane{certificates};
  RelayHost host;
  std::atomic<int> ups{0};
  std::atomic<int> downs{0};
};

TEST_F(RelayReconnectTest, ADrainedConnectionIsReplacedBeforeItEnds) {
  plane.stop();
  plane.expire_connections(1500ms, 20s);
  plane.start();
  start(upstream());
  give_all("1");
  ASSERT_TRUE(plane.wait_streams(2)) << "the plane has sent GOAWAY, and the first stream works still";
  std::optional<AdsServer::Received> first;
  do {
    first = plane.expect(kClusterType);
    ASSERT_TRUE(first);
  } while (first->stream != 2);
  EXPECT_EQ(first->request.initial_versions.at("a"), "v1") << "subscriptions are replayed with what is there";
  EXPECT_TRUE(first->request.nonce.empty());
  EXPECT_FALSE(first->request.node.empty());
  plane.push(plane_response(kClusterType, "2c", {{"a", "2"}}, {}, "v"));
  ASSERT_TRUE(plane.wait_half_closed(1)) << "the old one is ended politely";
  EXPECT_EQ(downs, 0) << "it was connected all the time";
  EXPECT_GE(host.status().moves, 1u);
  while (const auto answer = plane.expect(kClusterType, 200ms)) {
    const bool ours = answer->request.nonce.starts_with("2");
    EXPECT_TRUE(answer->request.nonce.empty() || ours == (answer->stream == 2)) << "nonces never cross streams";
  }
}

TEST_F(RelayReconnectTest, APlaneThatDrainsEachConnectionAtOnceIsNotHammered) {
  plane.stop();
  plane.expire_connections(200ms, 20s);
  plane.start();
  auto options = upstream();
  options.silence_is_consent = 10ms;
  options.backoff_cap = 15s;  // attempts are counted over four times of it
  start(options);
  give_all("1");
  const auto most = static_cast<int>(ReconnectPolicy::Options().most_in_window);
  ASSERT_TRUE(plane.wait_streams(most, 40s)) << "within the window of a minute, also on a busy machine";
  std::this_thread::sleep_for(1s);  // for several more, if it went on
  EXPECT_EQ(plane.streams(), most);
  EXPECT_TRUE(host.status().connected) << "by the last one, which works";
}

TEST_F(RelayReconnectTest, AStreamThatMovesEndsNoProxysStream) {
  plane.stop();
  plane.expire_connections(1000ms, 20s);
  plane.start();
  auto options = upstream();
  options.silence_is_consent = 100ms;
  start(options);
  give_all("1");
  AdsClient envoy(host.target(), "");
  envoy.send(subscribe(kClusterType));
  ASSERT_TRUE(envoy.receive());
  ASSERT_TRUE(host.wait([](const Relay::Status& status) { return status.moves >= 2; }));
  // This plane doesn't repeat what it said on a connection that was just being left; a real one sees by the initial
  // versions.
  bool updated = false;
  for (int version = 9; version < 19 && !updated; ++version) {
    plane.push(plane_response(kClusterType, std::to_string(version), {{"a", std::to_string(version)}}, {}, "v"));
    updated = envoy.receive(700ms).has_value();
  }
  EXPECT_TRUE(updated) << "by the same stream as before";
  EXPECT_EQ(downs, 0);
}

TEST_F(RelayReconnectTest, APlaneWithNothingNewMayBeSilent) {
  auto options = upstream();
  options.silence_is_consent = 100ms;
  options.first_response_timeout = 1500ms;
  start(options);
  give_all("1");
  plane.end(14, "going down");
  ASSERT_TRUE(plane.wait_streams(2));
  ASSERT_TRUE(host.wait([this](const Relay::Status& status) { return status.connected && ups == 2; }));
  std::this_thread::sleep_for(3s);  // well past the time that a first answer may take
  EXPECT_EQ(plane.streams(), 2) << "silence isn't taken for death";
  EXPECT_EQ(host.wait_health("control-plane", "ok"), "ok");
  plane.push(plane_response(kClusterType, "2", {{"z", "1"}}, {}, "v"));
  EXPECT_TRUE(host.wait([](const Relay::Status& status) { return status.types[0].resources == 2; }));
}

TEST_F(RelayReconnectTest, APlaneThatOwesAnAnswerMayNot) {
  auto options = upstream();
  options.silence_is_consent = 50ms;
  options.first_response_timeout = 200ms;
  start(options);
  ASSERT_TRUE(plane.expect(kListenerType));
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-009"), "HWS-XDS-009") << "nothing is there yet";
  ASSERT_TRUE(plane.wait_streams(3));
  EXPECT_EQ(ups, 0);
}

TEST_F(RelayReconnectTest, APlaneThatStopsAnsweringIsLeftOnce) {
  auto options = upstream();
  options.silence_is_consent = 50ms;
  options.first_response_timeout = 300ms;
  start(options);
  give_all("1");
  AdsClient envoy(host.target(), "");
  envoy.send(subscribe(kEndpointType, {"nobody"}));
  ASSERT_TRUE(plane.expect(kEndpointType));
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-009"), "HWS-XDS-009") << "its pings are answered all the time";
  ASSERT_TRUE(plane.wait_streams(2));
  EXPECT_EQ(host.wait_health("control-plane", "ok"), "ok");
  std::this_thread::sleep_for(1s);
  EXPECT_EQ(plane.streams(), 2) << "a name that it doesn't speak of isn't insisted on for ever";
}

TEST_F(RelayReconnectTest, MovingToAPlaneThatIsGoneKeepsTheStream) {
  start(upstream());
  give_all("1");
  host.call([&] { host.relay().move("a test"); });
  ASSERT_TRUE(plane.wait_streams(2));
  plane.push(plane_response(kClusterType, "2", {{"a", "2"}}, {}, "v"));
  ASSERT_TRUE(plane.wait_half_closed(1));
  EXPECT_EQ(downs, 0);
}

TEST_F(RelayReconnectTest, ARefusedTokenIsReadAgainBeforeAnyAlarm) {
  start(upstream());
  give_all("1");
  plane.end(16, "token expired");
  ASSERT_TRUE(plane.wait_streams(2));
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-004", 100ms), "ok");
  plane.refuse(16, "token expired");
  plane.end(16, "token expired");
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-004"), "HWS-XDS-004");
}

}  // namespace
}  // namespace hawser::xds::test
