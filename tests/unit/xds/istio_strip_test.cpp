// SPDX-License-Identifier: Apache-2.0
#include "xds/istio_strip.h"

#include <gtest/gtest.h>

#include <random>

#include "istio_messages.h"
#include "messages.h"
#include "xds/fit.h"

namespace hawser::xds::test {
namespace {

const IstioExtensionSet kAll("1111");
constexpr char kListenerMessage[] = "envoy.config.listener.v3.Listener";
constexpr char kClusterMessage[] = "envoy.config.cluster.v3.Cluster";

IstioExtensionSet only(IstioExtension extension) {
  return IstioExtensionSet().set(static_cast<std::size_t>(extension));
}

// A Resource without its version, as the cache keeps it.
std::string resource(const std::string& name, const std::string& message, const std::string& value) {
  return bytes_field(3, name) + bytes_field(2, any(message, value)) + bytes_field(4, "alias");
}

std::optional<std::string> stripped(const std::string& message, const std::string& value,
                                    const IstioExtensionSet& lacking = kAll) {
  IstioFindings found;
  return strip_resource(resource("r", message, value), lacking, found);
}

TEST(IstioStrip, TakesAllFourOutOfAListenerAndNothingElse) {
  IstioFindings found;
  const auto out = strip_resource(resource("r", kListenerMessage, kDefaultListener), kAll, found);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, resource("r", kListenerMessage, kStrippedListener));
  // The default filter chain repeats the first.
  EXPECT_EQ(found.filters, (std::array<std::uint64_t, 4>{2, 3, 2, 3}));
  EXPECT_EQ(found.protocols, 3U);
  EXPECT_EQ(istio_extension_names(found.extensions()),
            "istio.alpn, istio.metadata_exchange, istio.peer_metadata, istio.stats");
}

TEST(IstioStrip, TakesTheFilterOfAClusterAndItsProtocolOutOfBothTransportSockets) {
  const auto out = stripped(kClusterMessage, kDefaultCluster);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, resource("r", kClusterMessage, kStrippedCluster));
}

TEST(IstioStrip, LeavesWhatTheProxyHas) {
  EXPECT_FALSE(stripped(kListenerMessage, kDefaultListener, IstioExtensionSet()));
  const auto out = stripped(kListenerMessage, kDefaultListener, only(IstioExtension::kStats));
  ASSERT_TRUE(out);
  EXPECT_EQ(out->find("stats.PluginConfig"), std::string::npos);
  EXPECT_NE(out->find("FilterConfig"), std::string::npos);
  EXPECT_NE(out->find("istio-peer-exchange"), std::string::npos) << "a proxy that exchanges metadata must negotiate it";
}

TEST(IstioStrip, LeavesUnknownExtensionsThatMayProtectTheWorkload) {
  const auto plain = chain({http_filters({filter("corp.auth", any("corp.auth.v1.Config", "x"))})},
                           tls("DownstreamTlsContext", {"h2"}));
  EXPECT_FALSE(stripped(kListenerMessage, listener({plain})));
  // A name alone says nothing: Envoy goes by the type.
  EXPECT_FALSE(stripped(kListenerMessage, listener({chain({filter("istio.stats", kTcpProxyConfig)}, "")})));
}

TEST(IstioStrip, ReachesRoutersUpgradesAndTunnels) {
  const auto router = filter("envoy.filters.http.router", any("envoy.extensions.filters.http.router.v3.Router",
                                                              bytes_field(8, filter("istio.stats", kStatsConfig))));
  const auto bare_router =
      filter("envoy.filters.http.router", any("envoy.extensions.filters.http.router.v3.Router", ""));
  EXPECT_EQ(stripped(kListenerMessage, listener({chain({http_filters({router})}, "")})),
            resource("r", kListenerMessage, listener({chain({http_filters({bare_router})}, "")})));

  const auto manager = [](const std::string& upgrade) {
    return filter("hcm", any("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                             bytes_field(23, bytes_field(1, "websocket") + upgrade)));
  };
  EXPECT_EQ(
      stripped(kListenerMessage, listener({chain({manager(bytes_field(2, filter("istio.alpn", kAlpnConfig)))}, "")})),
      resource("r", kListenerMessage, listener({chain({manager("")}, "")})));

  const auto tunnel = [](std::initializer_list<std::string> protocols) {
    const auto inner = bytes_field(3, tls("UpstreamTlsContext", protocols));
    return bytes_field(
        24, bytes_field(
                3, any("envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport", inner)));
  };
  EXPECT_EQ(stripped(kClusterMessage, tunnel({"istio-peer-exchange", "istio"})),
            resource("r", kClusterMessage, tunnel({"istio"})));
}

TEST(IstioStrip, KeepsEverythingElseOfAResponse) {
  const std::string clean = any(kClusterMessage, bytes_field(1, "clean"));
  const auto response = [&](const std::string& dirty) {
    std::string out =
        bytes_field(1, "2026/7") + bytes_field(2, bytes_field(1, "v1") + bytes_field(3, "a") + bytes_field(2, clean));
    out += bytes_field(2, bytes_field(1, "v2") + bytes_field(3, "b") + bytes_field(2, any(kClusterMessage, dirty)));
    return out + bytes_field(4, kClusterType) + bytes_field(5, "nonce-9") + bytes_field(6, "gone") +
           bytes_field(7, "control plane") + bytes_field(99, "unknown");
  };
  IstioFindings found;
  EXPECT_EQ(strip_delta_response(response(kDefaultCluster), kAll, found), response(kStrippedCluster));
  EXPECT_FALSE(strip_delta_response(response(kStrippedCluster), kAll, found)) << "nothing to take out: not rebuilt";
}

TEST(IstioStrip, ReadsStateOfTheWorldAsWell) {
  const auto response = [&](const std::string& value) {
    return bytes_field(1, "v") + bytes_field(2, any(kListenerMessage, value)) + bytes_field(4, kListenerType) +
           bytes_field(5, "n");
  };
  IstioFindings found;
  EXPECT_EQ(strip_sotw_response(response(kDefaultListener), kAll, found), response(kStrippedListener));
}

TEST(IstioStrip, LeavesWhatItCannotRead) {
  const std::string whole = resource("r", kListenerMessage, kDefaultListener);
  IstioFindings found;
  std::mt19937 random(20260);  // NOLINT: the same each time
  for (std::size_t cut = 0; cut < whole.size(); ++cut) (void)strip_resource(whole.substr(0, cut), kAll, found);
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = whole;
    for (int k = 0; k < 3; ++k) damaged[random() % damaged.size()] = static_cast<char>(random());
    const auto once = strip_resource(damaged, kAll, found);
    if (once) {
      EXPECT_FALSE(strip_resource(*once, kAll, found)) << "what is stripped has nothing left to strip";
    }
  }
  // Routers within routers, as no sane plane sends them, end somewhere.
  std::string nested = filter("istio.stats", kStatsConfig);
  for (int i = 0; i < 200; ++i)
    nested = filter("r", any("envoy.extensions.filters.http.router.v3.Router", bytes_field(8, nested)));
  EXPECT_FALSE(stripped(kListenerMessage, listener({chain({http_filters({nested})}, "")})));
}

TEST(IstioExtensions, AreAskedOfTheBinary) {
  EXPECT_FALSE(lacking_istio_extensions(bytes_field(1, "grpc"))) << "no Envoy: nothing is known";
  EXPECT_EQ(lacking_istio_extensions(node_with({})), kAll);
  EXPECT_EQ(lacking_istio_extensions(node_with({"stats.PluginConfig", "io.istio.http.peer_metadata.Config",
                                                "envoy.tcp.metadataexchange.config.MetadataExchange",
                                                "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"})),
            IstioExtensionSet());
  EXPECT_EQ(lacking_istio_extensions(node_with({"stats.PluginConfig"})), ~only(IstioExtension::kStats));
}

class IstioCompatTest : public testing::Test {
 protected:
  IstioCompat make(bool strip) {
    return {strip, metrics, [this](const std::string& detail, const std::optional<Error>& error) {
              details.push_back(detail);
              last = error;
            }};
  }
  const std::string listener_resource = resource("r", kListenerMessage, kDefaultListener);
  Metrics metrics;
  std::vector<std::string> details;
  std::optional<Error> last;
};

TEST_F(IstioCompatTest, StripsForEachProxyWhatItLacksCountsAndTellsOnce) {
  auto compat = make(true);
  PermitGate gate({}, metrics);
  const auto istios = Fit::make(compat, gate,
                                node_with({"stats.PluginConfig", "io.istio.http.peer_metadata.Config",
                                           "envoy.tcp.metadataexchange.config.MetadataExchange",
                                           "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"}),
                                "");
  EXPECT_EQ(istios, nullptr) << "gets everything as it came";
  const auto upstreams = Fit::make(compat, gate, node_with({}), "f2e0");
  ASSERT_NE(upstreams, nullptr);
  EXPECT_EQ(upstreams->resource(kListenerType, listener_resource), resource("r", kListenerMessage, kStrippedListener));
  EXPECT_TRUE(upstreams->resource(kListenerType, listener_resource));
  EXPECT_FALSE(upstreams->resource(kEndpointType, listener_resource)) << "only listeners and clusters are looked at";
  EXPECT_EQ(details.size(), 1U) << "one word, not one a message";
  EXPECT_FALSE(last);
  EXPECT_NE(metrics.text().find("hawser_xds_stripped_total{extension=\"istio.stats\"} 6"), std::string::npos)
      << metrics.text();
  EXPECT_EQ(compat.status().removed.size(), 4U);
  EXPECT_TRUE(compat.status().known);
}

TEST_F(IstioCompatTest, KeepNamesWhatIsMissingAndTheRemedyUntilAProxyHasIt) {
  auto compat = make(false);
  PermitGate gate({}, metrics);
  const auto fit = Fit::make(compat, gate, node_with({"stats.PluginConfig"}), "f1e0");
  ASSERT_NE(fit, nullptr);
  EXPECT_TRUE(details.empty()) << "a plane that sends none of them is no trouble";
  EXPECT_FALSE(fit->resource(kListenerType, listener_resource)) << "nothing is taken out";
  ASSERT_TRUE(last);
  EXPECT_EQ(last->id(), "HWS-XDS-050");
  EXPECT_NE(last->message().find("istio.alpn, istio.metadata_exchange, istio.peer_metadata;"), std::string::npos)
      << last->message();
  EXPECT_NE(last->hint().find("compat.istio_extensions: strip"), std::string::npos);
  (void)compat.meet(node_with({"stats.PluginConfig", "io.istio.http.peer_metadata.Config",
                               "envoy.tcp.metadataexchange.config.MetadataExchange",
                               "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"}));
  EXPECT_FALSE(last);
}

}  // namespace
}  // namespace hawser::xds::test
