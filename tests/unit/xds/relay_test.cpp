// SPDX-License-Identifier: Apache-2.0
// The relay between a real gRPC control plane over TLS and real gRPC clients on a Unix socket.
#include "xds/relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "ads_client.h"
#include "ads_server.h"
#include "messages.h"
#include "relay_host.h"

namespace hawser::xds::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

class RelayTest : public testing::Test {
 protected:
  void SetUp() override { host.start(upstream()); }
  UpstreamOptions upstream() const {
    UpstreamOptions options = upstream_to(plane.port(), certificates.root_pem);
    options.cluster_id = "Kubernetes";
    return options;
  }

  // A proxy whose first requests have reached the relay: the plane has seen its subscription.
  std::unique_ptr<AdsClient> proxy(const std::string& generation, const std::string& endpoint) {
    auto out = std::make_unique<AdsClient>(host.target(), generation);
    Request first = subscribe(kClusterType);
    first.node = test_node();
    out->send(first);
    out->send(subscribe(kEndpointType, {endpoint}));
    return out;
  }
  DeltaDiscoveryResponse receive(AdsClient& client) {
    const auto bytes = client.receive();
    return bytes ? decoded(*bytes) : DeltaDiscoveryResponse();
  }

  TestCertificates certificates = make_certificates(kPlaneName);
  AdsServer plane{certificates};
  RelayHost host;
};

TEST_F(RelayTest, OpensEagerlyWithOurNodeTokenAndClusterAndNoProxy) {
  const auto clusters = plane.expect(kClusterType);
  ASSERT_TRUE(clusters);
  EXPECT_EQ(node_identity(clusters->request.node), node_identity(test_node()));
  EXPECT_THAT(clusters->request.subscribe, IsEmpty());
  const auto listeners = plane.expect(kListenerType);
  ASSERT_TRUE(listeners);
  EXPECT_TRUE(listeners->request.node.empty()) << "the node travels once a stream";
  EXPECT_THAT(plane.metadata(), testing::Contains(Pair("authorization", "Bearer token-1")));
  EXPECT_THAT(plane.metadata(), testing::Contains(Pair("clusterid", "Kubernetes")));

  std::vector<bool> connected;
  host.call([&] { host.relay().on_connected([&](bool up) { connected.push_back(up); }); });
  EXPECT_FALSE(host.status().connected) << "an open stream alone is no answer";
  plane.push(plane_response(kClusterType, "n1", {{"a", "x"}, {"b", "y"}}));
  EXPECT_EQ(host.wait_health("control-plane", "ok"), "ok");
  EXPECT_EQ(plane.expect(kClusterType)->request.nonce, "n1");
  EXPECT_THAT(host.names(kClusterType), ElementsAre("a", "b"));
  host.call([&] {
    EXPECT_THAT(connected, ElementsAre(true));
    host.relay().on_connected({});
  });
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_connected 1"));
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_cache_resources{type=\"Cluster\"} 2"));
}

TEST_F(RelayTest, TheServingProxyGetsThePlanesBytesUnchanged) {
  auto envoy = proxy("f1e0", "c");
  ASSERT_TRUE(plane.expect(kEndpointType));
  // Field 3 of a response (control_plane) isn't in our subset; it must arrive all the same.
  const std::string clusters =
      plane_response(kClusterType, "n1", {{"c", std::string(1 << 20, 'x')}}) + "\x1a\x05\x0a\x03iii";
  plane.push(clusters);
  EXPECT_EQ(envoy->receive(), clusters);
  const std::string endpoints = plane_response(kEndpointType, "n2", {{"c", "e"}});
  plane.push(endpoints);
  EXPECT_EQ(envoy->receive(), endpoints);
  envoy->send(ack(kClusterType, "n1"));
  const auto answer = plane.expect(kClusterType);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->request.nonce, "n1");
  EXPECT_TRUE(host.wait([](const auto& status) { return status.forwarded == 2; }));
}

TEST_F(RelayTest, AMessageOfTwentyMegabytesPasses) {
  auto envoy = proxy("", "c");
  ASSERT_TRUE(plane.expect(kEndpointType));
  std::map<std::string, std::string> many;
  for (int i = 0; i < 20; ++i) many["c" + std::to_string(i)] = std::string(1 << 20, static_cast<char>('a' + i));
  const std::string bytes = plane_response(kClusterType, "n1", many);
  plane.push(bytes);
  EXPECT_TRUE(envoy->receive() == bytes);
  AdsClient second(host.target(), "");
  second.send(subscribe(kClusterType));
  int resources = 0;
  while (resources < 20) {
    const auto part = second.receive();
    ASSERT_TRUE(part);
    EXPECT_LT(part->size(), 5u << 20);
    resources += decoded(*part).resources_size();
  }
}

TEST_F(RelayTest, ASecondGenerationIsServedFromTheCache) {
  host.call([&] { host.relay().set_serving("f1e0"); });
  auto first = proxy("f1e0", "c");
  ASSERT_TRUE(plane.expect(kEndpointType));
  plane.push(plane_response(kClusterType, "n1", {{"c", "x"}}));
  plane.push(plane_response(kEndpointType, "n2", {{"c", "e"}}));
  ASSERT_TRUE(first->receive() && first->receive());

  auto second = proxy("f2e0", "c");
  const auto clusters = receive(*second);
  EXPECT_EQ(clusters.type_url(), kClusterType);
  EXPECT_EQ(clusters.resources(0).resource(), "x");
  EXPECT_EQ(clusters.resources(0).version().size(), 32u) << "the content hash";
  EXPECT_NE(clusters.nonce(), "n1");
  EXPECT_EQ(receive(*second).type_url(), kEndpointType);
  second->send(nack(kClusterType, clusters.nonce(), "not for me"));
  // What the plane sends next is forwarded to the first and reaches the second too.
  const std::string update = plane_response(kClusterType, "n3", {{"c", "y"}});
  plane.push(update);
  EXPECT_EQ(first->receive(), update);
  EXPECT_EQ(receive(*second).resources(0).resource(), "y");
  EXPECT_EQ(plane.waiting(kClusterType), 0u) << "the plane hears nothing of the second generation";
  EXPECT_EQ(plane.streams(), 1);
}

TEST_F(RelayTest, AReconnectIsInvisibleDownstreamAndTellsVersions) {
  auto envoy = proxy("", "c");
  ASSERT_TRUE(plane.expect(kEndpointType));
  plane.push(plane_response(kClusterType, "n1", {{"c", "x"}}, {}, "v"));
  plane.push(plane_response(kEndpointType, "n1", {{"c", "e"}}));
  ASSERT_TRUE(envoy->receive() && envoy->receive());
  plane.end(14, "too old");
  ASSERT_TRUE(plane.wait_streams(2));
  auto again = plane.expect(kClusterType);
  while (again && again->stream == 1) again = plane.expect(kClusterType);
  ASSERT_TRUE(again);
  EXPECT_THAT(again->request.initial_versions, ElementsAre(Pair("c", "vx")));
  EXPECT_FALSE(again->request.node.empty());
  EXPECT_THAT(plane.expect(kEndpointType)->request.subscribe, ElementsAre("c"));
  ASSERT_TRUE(plane.expect(kListenerType));

  // An answer to the old stream's nonce stays here; the new stream has a nonce of the same name.
  envoy->send(ack(kClusterType, "n1"));
  const std::string update = plane_response(kClusterType, "n1", {{"c", "z"}});
  plane.push(update);
  EXPECT_EQ(envoy->receive(), update);
  EXPECT_EQ(plane.waiting(kClusterType), 0u);
  envoy->send(nack(kClusterType, "n1", "bad"));
  const auto answer = plane.expect(kClusterType);
  ASSERT_TRUE(answer && answer->request.error_detail);
  EXPECT_EQ(error_message(*answer->request.error_detail), "bad");
  EXPECT_EQ(host.wait_health("proxy-config", "HWS-XDS-012"), "HWS-XDS-012");
  plane.push(plane_response(kClusterType, "n2", {{"c", "ok"}}));
  ASSERT_TRUE(envoy->receive());
  envoy->send(ack(kClusterType, "n2"));
  EXPECT_EQ(host.wait_health("proxy-config", "ok"), "ok");
  EXPECT_EQ(host.status().types.at(0).rejected, 1u);
}

TEST_F(RelayTest, WhatAnEarlierProxyRefusedDoesntCountOnceAnotherServes) {
  auto first = proxy("f1e0", "c");
  host.call([&] { host.relay().set_serving("f1e0"); });
  ASSERT_TRUE(plane.expect(kEndpointType));
  plane.push(plane_response(kClusterType, "n1", {{"c", "x"}}));
  ASSERT_TRUE(first->receive());
  first->send(nack(kClusterType, "n1", "c: no such extension"));
  EXPECT_EQ(host.wait_health("proxy-config", "HWS-XDS-012"), "HWS-XDS-012");
  auto second = proxy("f1e1", "c");
  const auto sent = second->receive();
  ASSERT_TRUE(sent);
  second->send(ack(kClusterType, decoded(*sent).nonce()));
  EXPECT_EQ(host.wait_health("proxy-config", "ok", 100ms), "HWS-XDS-012") << "it doesn't serve yet";
  host.call([&] { host.relay().set_serving("f1e1"); });
  EXPECT_EQ(host.wait_health("proxy-config", "ok"), "ok");
  host.call([&] { host.relay().set_serving("f1e0"); });
  EXPECT_EQ(host.wait_health("proxy-config", "HWS-XDS-012"), "HWS-XDS-012") << "it serves on";
}

TEST_F(RelayTest, WithoutThePlaneANewProxyStartsFromTheCacheAndTheOldOneNoticesNothing) {
  auto envoy = proxy("", "c");
  ASSERT_TRUE(plane.expect(kEndpointType));
  plane.push(plane_response(kClusterType, "n1", {{"c", "x"}}));
  plane.push(plane_response(kEndpointType, "n2", {{"c", "e"}}));
  plane.push(plane_response(kListenerType, "n3", {}));
  ASSERT_TRUE(envoy->receive() && envoy->receive());
  ASSERT_TRUE(host.wait([](const auto& status) { return status.types.size() == 3; }));
  plane.stop();
  EXPECT_EQ(host.wait_health("control-plane", "HWS-XDS-001"), "HWS-XDS-001");

  auto second = proxy("", "c");
  second->send(subscribe(kListenerType));
  EXPECT_THAT(names_in(receive(*second)), ElementsAre("c"));
  EXPECT_THAT(names_in(receive(*second)), ElementsAre("c"));
  const auto listeners = receive(*second);
  EXPECT_EQ(listeners.type_url(), kListenerType) << "known to be none, and that's what it's told";
  EXPECT_EQ(listeners.resources_size(), 0);
  EXPECT_FALSE(envoy->receive(50ms));

  plane.start();
  EXPECT_TRUE(plane.wait_streams(2));
  ASSERT_TRUE(plane.expect(kListenerType));
  plane.push(plane_response(kClusterType, "n1", {{"c", "new"}}));
  EXPECT_EQ(receive(*envoy).resources(0).resource(), "new");
  EXPECT_EQ(receive(*second).resources(0).resource(), "new");
  EXPECT_EQ(host.wait_health("control-plane", "ok"), "ok");
}

TEST_F(RelayTest, HealthIsToldAfterTheListenersAndAgainOnEachStream) {
  host.call([&] { host.relay().report_health(false, "connection refused"); });
  const auto first = plane.expect(kHealthType);
  ASSERT_TRUE(first);
  EXPECT_EQ(error_message(*first->request.error_detail), "connection refused");
  EXPECT_TRUE(first->request.subscribe.empty() && first->request.nonce.empty());
  host.call([&] { host.relay().report_health(true, ""); });
  EXPECT_FALSE(plane.expect(kHealthType)->request.error_detail);
  plane.push(plane_response(kClusterType, "n1", {}));
  ASSERT_EQ(host.wait_health("control-plane", "ok"), "ok");
  host.call([&] { host.relay().reconnect("a test"); });
  EXPECT_TRUE(plane.wait_half_closed(1));
  const auto listeners = plane.expect(kListenerType);
  ASSERT_TRUE(listeners);
  const auto again = plane.expect(kHealthType);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->stream, 2);
}

TEST_F(RelayTest, UpstreamIsTheUnionAndNothingIsGivenUpThatSomebodyWants) {
  auto first = proxy("", "a");
  EXPECT_THAT(plane.expect(kEndpointType)->request.subscribe, ElementsAre("a"));
  auto second = proxy("", "b");
  EXPECT_THAT(plane.expect(kEndpointType)->request.subscribe, ElementsAre("b")) << "only what is new";
  second->send(subscribe(kEndpointType, {"a"}));
  second->send(unsubscribe(kEndpointType, {"b"}));
  EXPECT_THAT(plane.expect(kEndpointType)->request.unsubscribe, ElementsAre("b"));
  first->send(unsubscribe(kEndpointType, {"a"}));
  second->send(unsubscribe(kEndpointType, {"a"}));
  EXPECT_THAT(plane.expect(kEndpointType)->request.unsubscribe, ElementsAre("a"));
  EXPECT_EQ(plane.waiting(kEndpointType), 0u);
}

TEST_F(RelayTest, EndpointsAreReplayedWhenThePlaneForgetsThem) {
  auto envoy = proxy("", "c");
  ASSERT_TRUE(plane.expect(kEndpointType));
  plane.push(plane_response(kClusterType, "n1", {{"c", "one"}}));
  plane.push(plane_response(kEndpointType, "n2", {{"c", "e"}}));
  ASSERT_TRUE(envoy->receive() && envoy->receive());
  plane.push(plane_response(kClusterType, "n3", {{"c", "two"}}));
  EXPECT_EQ(receive(*envoy).type_url(), kClusterType);
  const auto replay = receive(*envoy);
  EXPECT_EQ(replay.type_url(), kEndpointType);
  EXPECT_EQ(replay.resources(0).resource(), "e");
}

TEST_F(RelayTest, ADifferentNodeOfTheServingProxyReopensTheStream) {
  ASSERT_TRUE(plane.expect(kListenerType));
  plane.push(plane_response(kClusterType, "n1", {}));
  AdsClient envoy(host.target(), "");
  Request first = subscribe(kClusterType);
  first.node = test_node("elsewhere");
  envoy.send(first);
  ASSERT_TRUE(plane.wait_streams(2));
  auto again = plane.expect(kClusterType);
  while (again && again->stream == 1) again = plane.expect(kClusterType);
  ASSERT_TRUE(again);
  EXPECT_EQ(node_identity(again->request.node), node_identity(test_node("elsewhere")));
}

TEST_F(RelayTest, StoppingIsACleanEndForThePlaneThenForTheProxies) {
  auto envoy = proxy("", "c");
  ASSERT_TRUE(plane.expect(kEndpointType));
  host.stop();
  EXPECT_TRUE(plane.wait_half_closed(1, 0ms)) << "before stop() reports that it's done";
  EXPECT_EQ(envoy->wait_end(), 14);
}

TEST_F(RelayTest, OtherMethodsAreUnimplementedAndAHalfCloseEndsTheStream) {
  AdsClient other(host.target(), "", "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters");
  EXPECT_EQ(other.wait_end(), 12);
  auto envoy = proxy("", "c");
  envoy->half_close();
  EXPECT_EQ(envoy->wait_end(), 0);
  EXPECT_TRUE(host.wait([](const auto& status) { return status.downstreams == 0; }));
}

TEST_F(RelayTest, LifetimesSurviveChurnOnBothSides) {
  ASSERT_TRUE(plane.expect(kListenerType));
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 25; ++round) {
        AdsClient envoy(host.target(), t == 0 ? "f1e0" : "f2e0");
        envoy.send(subscribe(kClusterType));
        envoy.send(subscribe(kEndpointType, {"e" + std::to_string(round % 5)}));
        if (round % 3 == 0) envoy.send(subscribe(kRouteType, {"r"}));
        if (round % 2 == 0) (void)envoy.receive(5ms);
      }
    });
  }
  std::thread pusher([&] {
    for (int i = 0; !stop; ++i) {
      plane.push(plane_response(kClusterType, "n" + std::to_string(i),
                                {{"c", std::string(100'000, static_cast<char>('a' + i % 26))}}));
      if (i % 40 == 39) plane.end(0, "");
      if (i % 60 == 59) host.call([&] { host.relay().reconnect("churn"); });
      if (i % 10 == 0) host.call([&] { host.relay().set_serving(i % 20 == 0 ? "f1e0" : "f2e0"); });
      std::this_thread::sleep_for(1ms);
    }
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  pusher.join();
  EXPECT_TRUE(host.wait([](const auto& status) { return status.downstreams == 0; }));
}

class StalledProxyTest : public RelayTest {
 protected:
  RelayHost patient{Relay::Options{100ms}};
  void SetUp() override {}
};

TEST_F(StalledProxyTest, AServingProxyThatDoesntReadHoldsNobodyUpForLongAndCatchesUp) {
  patient.start(upstream());
  AdsClient stuck(patient.target(), "f1e0");
  stuck.send(subscribe(kClusterType));
  stuck.send(subscribe(kEndpointType, {"e"}));
  ASSERT_TRUE(plane.expect(kEndpointType));
  AdsClient other(patient.target(), "f2e0");
  patient.call([&] { patient.relay().set_serving("f1e0"); });
  other.send(subscribe(kClusterType));
  other.send(subscribe(kEndpointType, {"e"}));
  ASSERT_TRUE(patient.wait([](const auto& status) { return status.downstreams == 2; }));

  constexpr int kPushes = 12;
  for (int i = 1; i <= kPushes; ++i) {
    plane.push(plane_response(kClusterType, "n" + std::to_string(i),
                              {{"c", std::to_string(i) + std::string(std::size_t{4} << 20, 'x')}}));
  }
  const auto last = [](AdsClient& client) {
    std::string body;
    while (!body.starts_with("12x")) {
      const auto bytes = client.receive();
      if (!bytes) break;
      const auto message = decoded(*bytes);
      if (message.type_url() == kClusterType && message.resources_size() == 1) body = message.resources(0).resource();
      client.send(ack(message.type_url(), message.nonce()));
    }
    return body.substr(0, 3);
  };
  EXPECT_EQ(last(other), "12x") << "while the serving proxy is stuck";
  EXPECT_EQ(last(stuck), "12x");
}

}  // namespace
}  // namespace hawser::xds::test
