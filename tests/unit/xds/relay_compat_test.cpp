// SPDX-License-Identifier: Apache-2.0
// Istio's own extensions on their way through the relay: real gRPC on both sides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ads_client.h"
#include "ads_server.h"
#include "istio_messages.h"
#include "messages.h"
#include "relay_host.h"
#include "xds/permit_gate.h"

namespace hawser::xds::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kName[] = "istiod.istio-system.svc";

// What a plane sends for one name; `value` is the cluster.
std::string plane_cluster(const std::string& nonce, const std::string& value) {
  return joined({bytes_field(1, "v7"),
                 bytes_field(2, bytes_field(1, "plane's") + bytes_field(3, "reviews") +
                                    bytes_field(2, any("envoy.config.cluster.v3.Cluster", value))),
                 bytes_field(4, kClusterType), bytes_field(5, nonce), bytes_field(77, "unknown")});
}

class RelayCompatTest : public testing::Test {
 protected:
  void start(RelayHost& host) const {
    UpstreamOptions options;
    options.dial_target = "ipv4:127.0.0.1:" + std::to_string(plane.port());
    options.server_name = kName;
    options.roots_pem = certificates.root_pem;
    host.start(options);
  }
  static std::unique_ptr<AdsClient> proxy(RelayHost& host, const std::string& generation, const std::string& more) {
    auto out = std::make_unique<AdsClient>(host.target(), generation);
    Request first = subscribe(kClusterType);
    first.node = test_node() + more;
    out->send(first);
    return out;
  }
  // As field 9 of the node: what an Envoy without Istio's extensions says.
  static std::string upstream_build() { return bytes_field(9, bytes_field(1, "envoy.filters.network.tcp_proxy")); }
  static std::string istio_build() {
    std::string out = upstream_build();
    for (const char* type : {"stats.PluginConfig", "io.istio.http.peer_metadata.Config",
                             "envoy.tcp.metadataexchange.config.MetadataExchange",
                             "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"})
      out += bytes_field(9, bytes_field(1, "x") + bytes_field(6, type));
    return out;
  }

  TestCertificates certificates = make_certificates(kName);
  AdsServer plane{certificates};
};

TEST_F(RelayCompatTest, EachProxyGetsWhatItsBinaryCanTakeOnEveryPath) {
  RelayHost host;
  start(host);
  host.call([&] { host.relay().set_serving("f1e0"); });
  ASSERT_TRUE(plane.expect(kClusterType));
  const auto serving = proxy(host, "f1e0", upstream_build());
  ASSERT_TRUE(host.wait([](const auto& status) { return status.compat.known; }));

  // Forwarded: the plane's message, without the filter, with all else.
  plane.push(plane_cluster("n1", kDefaultCluster));
  EXPECT_EQ(serving->receive(), plane_cluster("n1", kStrippedCluster));
  Request ack;
  ack.type_url = std::string(kClusterType);
  ack.nonce = "n1";
  serving->send(ack);
  ASSERT_TRUE(plane.expect(kClusterType));

  // Nothing to take out: the plane's own bytes, also the second time.
  const std::string clean = plane_cluster("n2", bytes_field(1, "reviews"));
  plane.push(clean);
  EXPECT_EQ(serving->receive(), clean);
  plane.push(plane_cluster("n3", bytes_field(1, "reviews")));
  EXPECT_EQ(serving->receive(), plane_cluster("n3", bytes_field(1, "reviews")))
      << "what the plane repeats is never suppressed";
  plane.push(plane_cluster("n4", kDefaultCluster));
  EXPECT_EQ(serving->receive(), plane_cluster("n4", kStrippedCluster));

  // From the cache: one generation with the same binary, one with Istio's own.
  const auto body = [](AdsClient& client) { return decoded(client.receive().value_or("")); };
  const auto next = proxy(host, "f2e0", upstream_build());
  const auto cached = body(*next);
  ASSERT_EQ(cached.resources_size(), 1);
  EXPECT_THAT(cached.resources(0).resource(), Not(HasSubstr("istio-peer-exchange")));
  const auto istios = proxy(host, "f2e1", istio_build());
  const auto whole = body(*istios);
  ASSERT_EQ(whole.resources_size(), 1);
  EXPECT_THAT(whole.resources(0).resource(), HasSubstr("istio-peer-exchange"));
  EXPECT_NE(whole.resources(0).version(), cached.resources(0).version()) << "a version names what the proxy holds";

  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_stripped_total{extension=\"istio.metadata_exchange\"} 3"));
  EXPECT_EQ(host.wait_health("istio-extensions", "ok"), "ok");
}

TEST_F(RelayCompatTest, AStateOfTheWorldStreamIsFittedToo) {
  RelayHost host;
  start(host);
  ASSERT_TRUE(plane.wait_streams(1)) << "the host's own stream";
  const auto open = [&](const std::string& generation, const std::string& extensions) {
    auto client = std::make_unique<AdsClient>(
        host.target(), generation, "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources");
    EXPECT_TRUE(client->send_bytes(bytes_field(2, test_node() + extensions) + bytes_field(4, kClusterType)));
    return client;
  };
  const auto response = [](const std::string& cluster) {
    return joined({bytes_field(1, "v7"), bytes_field(2, any("envoy.config.cluster.v3.Cluster", cluster)),
                   bytes_field(4, kClusterType), bytes_field(5, "n1"), bytes_field(77, "unknown")});
  };
  const auto upstreams = open("f1e0", upstream_build());
  const auto first = plane.expect_sotw();
  ASSERT_TRUE(first);
  plane.push_to(first->stream, response(kDefaultCluster));
  EXPECT_EQ(upstreams->receive(), response(kStrippedCluster));

  const auto istios = open("f1e1", istio_build());
  const auto second = plane.expect_sotw();
  ASSERT_TRUE(second);
  plane.push_to(second->stream, response(kDefaultCluster));
  EXPECT_EQ(istios->receive(), response(kDefaultCluster)) << "this one has them";
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_stripped_total{extension=\"istio.metadata_exchange\"} 1"));
}

TEST_F(RelayCompatTest, WhatASandboxDoesntPermitIsMadeUnusableOnItsWay) {
  const std::string filter = cluster_filter("lua", any("envoy.extensions.filters.http.lua.v3.Lua", "code"));
  const std::string cluster = bytes_field(1, "reviews") + bytes_field(40, filter);
  std::string refused = cluster;
  refused.replace(refused.find("envoy.extensions."), kRefusedType.size(), kRefusedType);
  Relay::Options options;
  options.permits.next.lua = true;
  RelayHost host(options);
  start(host);
  host.call([&] {
    host.relay().set_serving("f1e0");
    HostPermits permits;
    permits.running["f2e0"].lua = true;
    host.relay().permit(permits);
  });
  ASSERT_TRUE(plane.expect(kClusterType));
  const auto serving = proxy(host, "f1e0", istio_build());
  ASSERT_TRUE(host.wait([](const auto& status) { return status.compat.known; }));
  plane.push(plane_cluster("n1", cluster));
  EXPECT_EQ(serving->receive(), plane_cluster("n1", refused));

  // What Envoy then says: to the plane as to the operator.
  Request nack;
  nack.type_url = std::string(kClusterType);
  nack.nonce = "n1";
  nack.error_detail = make_error_detail(13, std::string("Didn't find a registered implementation for 'lua' with ") +
                                                "type URL: '" + std::string(kRefusedType) + "filters.http.lua.v3.Lua'");
  serving->send(nack);
  EXPECT_EQ(host.wait_health("proxy-config", "HWS-XDS-053"), "HWS-XDS-053");
  const auto told = plane.expect(kClusterType);
  ASSERT_TRUE(told);
  EXPECT_THAT(told->request.error_detail.value_or(""), HasSubstr("HWS-XDS-053"));

  // Another, whose sandbox does, gets it from the cache.
  const auto permitted = proxy(host, "f2e0", istio_build());
  EXPECT_THAT(permitted->receive().value_or(""), HasSubstr("envoy.extensions.filters.http.lua"));
  EXPECT_THAT(host.metrics(), HasSubstr("hawser_xds_refused_extensions_total{extension=\"lua\"} 1"));
}

TEST_F(RelayCompatTest, KeepReportsAndForwardsAsItCame) {
  Relay::Options options;
  options.strip_istio_extensions = false;
  RelayHost host(options);
  start(host);
  ASSERT_TRUE(plane.expect(kClusterType));
  const auto serving = proxy(host, "f1e0", upstream_build());
  ASSERT_TRUE(host.wait([](const auto& status) { return status.compat.known; }));
  plane.push(plane_cluster("n1", kDefaultCluster));
  EXPECT_EQ(serving->receive(), plane_cluster("n1", kDefaultCluster));
  EXPECT_EQ(host.wait_health("istio-extensions", "HWS-XDS-050"), "HWS-XDS-050");

  // What Envoy then says, and what the operator reads.
  Request nack;
  nack.type_url = std::string(kClusterType);
  nack.nonce = "n1";
  nack.error_detail = make_error_detail(13, "Didn't find a registered implementation for 'istio.metadata_exchange'");
  serving->send(nack);
  EXPECT_EQ(host.wait_health("proxy-config", "HWS-XDS-051"), "HWS-XDS-051");
}

}  // namespace
}  // namespace hawser::xds::test
