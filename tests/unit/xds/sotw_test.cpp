// SPDX-License-Identifier: Apache-2.0
// State-of-the-world streams through the relay: real gRPC on both sides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "ads_client.h"
#include "ads_server.h"
#include "messages.h"
#include "relay_host.h"
#include "xds/sotw_sessions.h"

namespace hawser::xds::test {
namespace {

using namespace std::chrono_literals;
using envoy::service::discovery::v3::DiscoveryRequest;
using envoy::service::discovery::v3::DiscoveryResponse;
using testing::HasSubstr;

constexpr char kSotw[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

DiscoveryRequest request(std::string_view type, const std::vector<std::string>& names = {}) {
  DiscoveryRequest out;
  out.set_type_url(std::string(type));
  for (const auto& name : names) out.add_resource_names(name);
  return out;
}

std::string response(std::string_view type, const std::string& nonce, const std::string& body) {
  DiscoveryResponse out;
  out.set_type_url(std::string(type));
  out.set_nonce(nonce);
  out.set_version_info("1");
  out.add_resources(body);
  return out.SerializeAsString();
}

class SotwTest : public testing::Test {
 protected:
  void SetUp() override {
    host.start(upstream());
    ASSERT_TRUE(plane.wait_streams(1)) << "the host's own stream";
  }
  UpstreamOptions upstream() const {
    UpstreamOptions options = upstream_to(plane.port(), certificates.root_pem);
    options.cluster_id = "Kubernetes";
    return options;
  }
  std::unique_ptr<AdsClient> client() { return std::make_unique<AdsClient>(host.program_target(), "", kSotw); }
  static void send(AdsClient& client, const DiscoveryRequest& message) {
    EXPECT_TRUE(client.send_bytes(message.SerializeAsString()));
  }

  TestCertificates certificates = make_certificates(kPlaneName);
  AdsServer plane{certificates};
  RelayHost host;
};

TEST_F(SotwTest, OpensWithTheFirstRequestWithTheHostsTokenAndNodeAndPassesBytesBothWays) {
  auto grpc = client();
  EXPECT_FALSE(plane.wait_streams(2, 50ms)) << "who asks for nothing costs the plane nothing";
  auto first = request(kListenerType, {"reviews:80"});
  first.mutable_node()->set_id("a name of its own");
  (*first.mutable_node()->mutable_metadata()->mutable_fields())["GENERATOR"].set_string_value("grpc");
  send(*grpc, first);
  const auto seen = plane.expect_sotw();
  ASSERT_TRUE(seen);
  EXPECT_EQ(plane.metadata()["authorization"], "Bearer token-1");
  EXPECT_EQ(plane.metadata()["clusterid"], "Kubernetes");
  const auto decoded = decoded_request(seen->bytes);
  EXPECT_EQ(decoded.resource_names(0), "reviews:80");
  EXPECT_EQ(decoded.node().id(), "sidecar~10.0.0.1~vm.default~default.svc.cluster.local");
  EXPECT_EQ(decoded.node().metadata().fields().at("GENERATOR").string_value(), "grpc");

  const std::string answer = response(kListenerType, "n1", std::string(1 << 20, 'x')) + "\x1a\x03xyz";
  plane.push_to(seen->stream, answer);
  EXPECT_EQ(grpc->receive(), answer);
  auto ack = request(kListenerType, {"reviews:80"});
  ack.set_response_nonce("n1");
  ack.set_version_info("1");
  send(*grpc, ack);
  EXPECT_EQ(plane.expect_sotw()->bytes, ack.SerializeAsString()) << "later requests pass as they are";
  EXPECT_TRUE(host.wait([](const auto& status) { return status.passed_through == 1 && status.downstreams == 0; }));
}

TEST_F(SotwTest, EachClientHasAStreamOfItsOwnBesideTheProxysDeltaStream) {
  AdsClient envoy(host.target(), "f1e0");
  envoy.send(subscribe(kClusterType));
  auto one = client();
  auto two = client();
  send(*one, request(kListenerType, {"one"}));
  const auto first = plane.expect_sotw();
  send(*two, request(kListenerType, {"two"}));
  const auto second = plane.expect_sotw();
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->stream, second->stream);
  plane.push_to(second->stream, response(kListenerType, "n", "for two"));
  plane.push_to(first->stream, response(kListenerType, "n", "for one"));
  EXPECT_THAT(one->receive().value_or(""), HasSubstr("for one"));
  EXPECT_THAT(two->receive().value_or(""), HasSubstr("for two"));
  plane.push(plane_response(kClusterType, "n1", {{"c", "x"}}));
  EXPECT_TRUE(envoy.receive());
  // The end of one is nobody else's.
  plane.end_stream(first->stream, 14, "too old");
  EXPECT_EQ(one->wait_end(), 14);
  plane.push_to(second->stream, response(kListenerType, "n2", "still here"));
  EXPECT_THAT(two->receive().value_or(""), HasSubstr("still here"));
}

TEST_F(SotwTest, TypesOfTheAgentNeverPassInEitherDirection) {
  auto grpc = client();
  for (const char* type : {"type.googleapis.com/istio.networking.nds.v1.NameTable", "istio.io/debug/syncz",
                           "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig"}) {
    send(*grpc, request(type));
  }
  auto health = request(kHealthType);
  health.mutable_error_detail()->set_message("a program speaks for the host");
  send(*grpc, health);
  send(*grpc, request(kListenerType, {"a"}));
  const auto seen = plane.expect_sotw();
  ASSERT_TRUE(seen);
  EXPECT_EQ(decoded_request(seen->bytes).type_url(), kListenerType);
  EXPECT_FALSE(decoded_request(seen->bytes).node().id().empty());
  plane.push_to(seen->stream, response("type.googleapis.com/istio.networking.nds.v1.NameTable", "n1", "names"));
  plane.push_to(seen->stream, response(kListenerType, "n2", "listener"));
  EXPECT_THAT(grpc->receive().value_or(""), HasSubstr("listener"));
}

TEST_F(SotwTest, AHalfCloseReachesThePlaneAndACancellationEndsItsStream) {
  auto polite = client();
  send(*polite, request(kListenerType, {"a"}));
  const auto first = plane.expect_sotw();
  ASSERT_TRUE(first);
  polite->half_close();
  EXPECT_TRUE(plane.wait_half_closed(first->stream));
  EXPECT_EQ(polite->wait_end(), 0);

  auto rude = client();
  send(*rude, request(kListenerType, {"a"}));
  const auto second = plane.expect_sotw();
  ASSERT_TRUE(second);
  rude.reset();
  EXPECT_TRUE(plane.wait_gone(second->stream));
  EXPECT_TRUE(host.wait([](const auto& status) { return status.passed_through == 0; }));
}

TEST_F(SotwTest, AMalformedRequestEndsOnlyThatStream) {
  auto grpc = client();
  EXPECT_TRUE(grpc->send_bytes("\xff\xff"));
  EXPECT_EQ(grpc->wait_end(), 3);
  EXPECT_EQ(plane.streams(), 1);
}

TEST_F(SotwTest, TheEndOfTheRelayEndsThemAsUnavailable) {
  auto grpc = client();
  send(*grpc, request(kListenerType, {"a"}));
  ASSERT_TRUE(plane.expect_sotw());
  host.stop();
  EXPECT_EQ(grpc->wait_end(), 14);
}

TEST_F(SotwTest, AClientInALoopDoesntHammerAPlaneThatRefuses) {
  plane.refuse(14, "not now");
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < OpenPace::kBurst + 2; ++i) {
    auto grpc = client();
    send(*grpc, request(kListenerType, {"a"}));
    EXPECT_EQ(grpc->wait_end(), 14);
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 1s) << "after the burst, one a second";
}

TEST_F(SotwTest, AClientThatGoesAwayWhileItWaitsCostsNoStream) {
  plane.refuse(14, "not now");
  for (int i = 0; i < OpenPace::kBurst; ++i) {
    auto grpc = client();
    send(*grpc, request(kListenerType, {"a"}));
    ASSERT_EQ(grpc->wait_end(), 14);
  }
  plane.refuse(0, "");
  auto waiting = client();
  send(*waiting, request(kListenerType, {"a"}));
  ASSERT_TRUE(host.wait([](const auto& status) { return status.passed_through == 1; }));
  waiting.reset();
  EXPECT_TRUE(host.wait([](const auto& status) { return status.passed_through == 0; }));
  EXPECT_EQ(plane.sotw_streams(), OpenPace::kBurst);
}

TEST_F(SotwTest, TooManyAreRefused) {
  std::vector<std::unique_ptr<AdsClient>> many;
  for (std::size_t i = 0; i < SotwSessions::kMaxStreams; ++i) many.push_back(client());
  ASSERT_TRUE(host.wait([](const auto& status) { return status.passed_through == SotwSessions::kMaxStreams; }));
  auto more = client();
  EXPECT_EQ(more->wait_end(), 8);
  many.clear();
  EXPECT_TRUE(host.wait([](const auto& status) { return status.passed_through == 0; }));
}

TEST_F(SotwTest, ASlowClientSlowsThePlaneAndASlowPlaneTheClient) {
  auto grpc = client();
  send(*grpc, request(kListenerType, {"a"}));
  const auto seen = plane.expect_sotw();
  ASSERT_TRUE(seen);
  constexpr int kPushes = 30;
  for (int i = 0; i < kPushes; ++i)
    plane.push_to(seen->stream, response(kListenerType, std::to_string(i), std::string(std::size_t{2} << 20, 'x')));
  for (int i = 0; i < kPushes; ++i) {
    DiscoveryResponse message;
    ASSERT_TRUE(message.ParseFromString(grpc->receive().value_or("\xff")));
    ASSERT_EQ(message.nonce(), std::to_string(i)) << "each, in order";
  }

  plane.hold_reads();
  auto eager = client();
  int taken = 0;
  for (auto big = request(kListenerType, {std::string(1 << 20, 'n')}); taken < 200; ++taken) {
    if (!eager->send_bytes(big.SerializeAsString(), 200ms)) break;
  }
  EXPECT_LT(taken, 40) << "what the plane doesn't read stays with the client";
  plane.resume_reads();
  int arrived = 0;
  for (const auto end = std::chrono::steady_clock::now() + 20s;
       arrived <= taken && std::chrono::steady_clock::now() < end;) {
    (void)eager->receive(5ms);  // what is being written only moves while the test looks
    while (plane.expect_sotw(1ms)) ++arrived;
  }
  EXPECT_EQ(arrived, taken + 1) << "and nothing is lost";
}

TEST_F(SotwTest, LifetimesSurviveChurnOnBothSides) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 15; ++round) {
        auto grpc = client();
        (void)grpc->send_bytes(request(kListenerType, {"a"}).SerializeAsString(), 100ms);
        if (round % 3 == t) (void)grpc->receive(5ms);
        if (round % 4 == 0) grpc->half_close();
      }
    });
  }
  std::thread pusher([&] {
    for (int i = 0; !stop; ++i) {
      for (int stream = 2; stream <= plane.streams(); ++stream) {
        plane.push_to(stream, response(kListenerType, "n", std::string(100'000, 'x')));
        if (i % 20 == 19) plane.end_stream(stream, 14, "churn");
      }
      std::this_thread::sleep_for(1ms);
    }
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  pusher.join();
  EXPECT_TRUE(host.wait([](const auto& status) { return status.passed_through == 0; }));
}

TEST_F(SotwTest, AProgramGetsNoDeltaStreamAndNoOtherService) {
  AdsClient delta(host.program_target(), "f1e0");
  EXPECT_EQ(delta.wait_end(), 12) << "it could speak for the host";
  AdsClient secrets(host.program_target(), "", "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets");
  EXPECT_EQ(secrets.wait_end(), 12);
}

}  // namespace
}  // namespace hawser::xds::test
