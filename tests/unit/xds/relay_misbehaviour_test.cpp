// SPDX-License-Identifier: Apache-2.0
// A control plane that breaks the rules: what the relay says, and that what the proxy has stays as it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "ads_client.h"
#include "ads_server.h"
#include "messages.h"
#include "relay_host.h"
#include "xds/relay.h"
#include "xds/short_streams.h"

namespace hawser::xds::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr char kStrange[] = "type.googleapis.com/no.such.Type";

class RelayMisbehaviourTest : public testing::Test {
 protected:
  UpstreamOptions upstream() const {
    UpstreamOptions options = upstream_to(plane.port(), certificates.root_pem);
    options.max_response = 4 << 20;
    return options;
  }
  // The relay asks for all on the stream of this number, and gets one cluster.
  void serve(int stream) {
    auto asked = plane.expect(kListenerType);
    while (asked && asked->stream < stream) asked = plane.expect(kListenerType);
    ASSERT_TRUE(asked);
    plane.push(plane_response(kClusterType, "good", {{"c", "x"}}));
  }

  TestCertificates certificates = make_certificates(kPlaneName);
  AdsServer plane{certificates};
  RelayHost host;
};

TEST_F(RelayMisbehaviourTest, AResponseThatIsTooLargeIsNamedWithItsKey) {
  host.start(upstream());
  serve(1);
  ASSERT_EQ(host.wait_health("control-plane", "ok"), "ok");
  plane.push(plane_response(kClusterType, "huge", {{"d", std::string(5 << 20, 'x')}}));
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-040"), "HWS-XDS-040");
  serve(2);
  EXPECT_EQ(host.wait_health("control-plane", "ok"), "ok");
  EXPECT_THAT(host.names(kClusterType), ElementsAre("c"));
}

TEST_F(RelayMisbehaviourTest, AFirstMessageThatIsNonsenseIsNoConnection) {
  host.start(upstream());
  ASSERT_TRUE(plane.expect(kListenerType));
  plane.push(plane_response(kClusterType, "cut", {{"c", "x"}}) + "\x12\x7f");
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-011"), "HWS-XDS-011");
  EXPECT_THAT(host.metrics(), Not(HasSubstr("hawser_xds_connected 1")));
}

TEST_F(RelayMisbehaviourTest, StreamsThatEndAgainAndAgainAreToldUntilOneLasts) {
  auto options = upstream();
  options.good_after = 1000ms;
  host.start(options);
  const int alarm = static_cast<int>(ShortStreams::kAlarm);
  for (int stream = 1; stream <= alarm; ++stream) {
    serve(stream);
    ASSERT_TRUE(host.wait([&](const auto& status) {
      return status.connected && status.streams_opened == static_cast<unsigned>(stream);
    }));
    plane.end(14, "going away");
  }
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-041"), "HWS-XDS-041");
  serve(alarm + 1);
  ASSERT_TRUE(host.wait([](const auto& status) { return status.connected; }));
  EXPECT_EQ(host.wait_health("control-plane", "ok", 100ms), "HWS-XDS-041") << "that it's there again says nothing";
  EXPECT_EQ(host.wait_health("control-plane", "ok"), "ok");
}

TEST_F(RelayMisbehaviourTest, OldStreamsThatEndAreRoutine) {
  auto options = upstream();
  options.good_after = 1ms;
  host.start(options);
  for (int stream = 1; stream <= 5; ++stream) {
    serve(stream);
    ASSERT_EQ(host.wait_health("control-plane", "ok"), "ok");
    ASSERT_TRUE(host.wait([&](const auto& status) {
      return status.connected && status.streams_opened == static_cast<unsigned>(stream);
    }));
    std::this_thread::sleep_for(5ms);  // growing old is what this is about
    plane.end(14, "too old");
  }
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-041", 100ms), "ok");
}

TEST_F(RelayMisbehaviourTest, WhatNobodyAskedForIsIgnoredAndNotAnswered) {
  host.start(upstream());
  serve(1);
  ASSERT_TRUE(plane.expect(kClusterType));  // the ACK
  for (int i = 0; i < 300; ++i)
    plane.push(plane_response(std::string(kStrange) + std::to_string(i), "n" + std::to_string(i), {{"a", "x"}}));
  plane.push(plane_response(kClusterType, "after", {{"d", "y"}}));
  const auto answer = plane.expect(kClusterType);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->request.nonce, "after");
  for (int i = 0; i < 300; ++i) EXPECT_EQ(plane.waiting(std::string(kStrange) + std::to_string(i)), 0u);
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_oddities_total{kind=\"unasked_type\"} 300"));
  EXPECT_THAT(host.metrics(), Not(HasSubstr("no.such")));
  EXPECT_EQ(host.status().types.size(), 1u);
}

TEST_F(RelayMisbehaviourTest, NoncesThatAreMissingOrRepeatedStopNothing) {
  host.start(upstream());
  AdsClient envoy(host.target(), "");
  envoy.send(subscribe(kClusterType));
  serve(1);
  ASSERT_TRUE(envoy.receive());
  envoy.send(ack(kClusterType, "good"));
  for (int i = 0; i < 3; ++i) {
    plane.push(plane_response(kClusterType, "good", {{"c", "same" + std::to_string(i)}}));
    ASSERT_TRUE(envoy.receive());
    envoy.send(ack(kClusterType, "good"));
  }
  plane.push(plane_response(kClusterType, "", {{"c", "none"}}));
  const auto last = envoy.receive();
  ASSERT_TRUE(last);
  EXPECT_EQ(decoded(*last).resources(0).resource(), "none");
  EXPECT_FALSE(decoded(*last).nonce().empty()) << "the proxy's answer has to be told from a request";
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_oddities_total{kind=\"repeated_nonce\"} 3"));
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_oddities_total{kind=\"no_nonce\"} 1"));
}

}  // namespace
}  // namespace hawser::xds::test
