// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "xds/wire_cursor.h"

// Listeners and clusters as a default istiod makes them, serialised by hand: we have no classes for them. That these
// are the ones that it sends is shown where a real one does (tests/interop/test_default_istiod.py).
namespace hawser::xds::test {

inline std::string bytes_field(std::uint32_t number, std::string_view value) {
  std::string out;
  append_wire_bytes(out, number, value);
  return out;
}
inline std::string joined(std::initializer_list<std::string> parts) {
  std::string out;
  for (const auto& part : parts) out += part;
  return out;
}
inline std::string any(std::string_view message, std::string_view value) {
  return bytes_field(1, std::string("type.googleapis.com/").append(message)) + bytes_field(2, value);
}
inline std::string typed_struct(std::string_view message) {
  return any("udpa.type.v1.TypedStruct", bytes_field(1, std::string("type.googleapis.com/").append(message)));
}

inline const std::string kAlpnConfig =
    any("istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig", "\x0a\x02\x08\x01");
inline const std::string kStatsConfig = any("stats.PluginConfig", "\x28\x01");
inline const std::string kExchangeConfig = typed_struct("envoy.tcp.metadataexchange.config.MetadataExchange");
inline const std::string kPeerConfig = typed_struct("io.istio.http.peer_metadata.Config");
inline const std::string kTcpProxyConfig = any("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "\x0a\x01t");
inline const std::string kRbacConfig = any("envoy.extensions.filters.http.rbac.v3.RBAC", "\x12\x01r");

// listener.v3.Filter and HttpFilter alike.
inline std::string filter(std::string_view name, std::string_view config) {
  return bytes_field(1, name) + bytes_field(4, config);
}
inline std::string cluster_filter(std::string_view name, std::string_view config) {
  return bytes_field(1, name) + bytes_field(2, config);
}
inline std::string http_filters(std::initializer_list<std::string> filters) {
  std::string out = bytes_field(2, "inbound_0.0.0.0_8080");
  for (const auto& one : filters) out += bytes_field(5, one);
  // A field that nobody knows, behind the filters.
  return filter("envoy.filters.network.http_connection_manager",
                any("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    out + bytes_field(1000, "unknown")));
}
inline std::string tls(std::string_view context, std::initializer_list<std::string> protocols) {
  std::string common;
  for (const auto& one : protocols) common += bytes_field(4, one);
  common += bytes_field(6, "certificates");
  return bytes_field(1, "envoy.transport_sockets.tls") +
         bytes_field(
             3, any(std::string("envoy.extensions.transport_sockets.tls.v3.").append(context), bytes_field(1, common)));
}
inline std::string chain(std::initializer_list<std::string> filters, const std::string& socket) {
  std::string out;
  for (const auto& one : filters) out += bytes_field(3, one);
  return out + bytes_field(6, socket) + bytes_field(7, "name");
}
inline std::string listener(std::initializer_list<std::string> chains) {
  std::string out = bytes_field(1, "virtualInbound");
  for (const auto& one : chains) out += bytes_field(3, one);
  return out + bytes_field(25, *chains.begin());
}

inline const std::string kDefaultListener =
    listener({chain({filter("istio.metadata_exchange", kExchangeConfig),
                     http_filters({filter("istio.metadata_exchange", kPeerConfig), filter("rbac", kRbacConfig),
                                   filter("istio.alpn", kAlpnConfig), filter("istio.stats", kStatsConfig)})},
                    tls("DownstreamTlsContext", {"istio-peer-exchange", "h2", "http/1.1"})),
              chain({filter("istio.metadata_exchange", kExchangeConfig), filter("istio.stats", kStatsConfig),
                     filter("envoy.filters.network.tcp_proxy", kTcpProxyConfig)},
                    tls("DownstreamTlsContext", {"istio-peer-exchange", "h2", "http/1.1"}))});
inline const std::string kStrippedListener =
    listener({chain({http_filters({filter("rbac", kRbacConfig)})}, tls("DownstreamTlsContext", {"h2", "http/1.1"})),
              chain({filter("envoy.filters.network.tcp_proxy", kTcpProxyConfig)},
                    tls("DownstreamTlsContext", {"h2", "http/1.1"}))});

inline std::string cluster_with(std::initializer_list<std::string> protocols, const std::string& filters) {
  const std::string options = bytes_field(1, "envoy.extensions.upstreams.http.v3.HttpProtocolOptions") +
                              bytes_field(2, any("envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                                                 bytes_field(6, filter("rbac", kRbacConfig))));
  const std::string socket = tls("UpstreamTlsContext", protocols);
  return joined({bytes_field(1, "outbound|80||reviews"), bytes_field(24, socket), bytes_field(36, options), filters,
                 bytes_field(43, bytes_field(1, "tlsMode-istio") + bytes_field(3, socket)),
                 bytes_field(25, "metadata")});
}
inline const std::string kDefaultCluster = cluster_with(
    {"istio-peer-exchange", "istio"}, bytes_field(40, cluster_filter("istio.metadata_exchange", kExchangeConfig)));
inline const std::string kStrippedCluster = cluster_with({"istio"}, "");

// A node, as an Envoy adds its extensions to it.
inline std::string node_with(std::initializer_list<std::string> type_urls) {
  std::string out = bytes_field(1, "sidecar~10.0.0.5~vm.default~default.svc.cluster.local");
  out += bytes_field(9, bytes_field(1, "envoy.tcp_proxy") + bytes_field(2, "envoy.filters.network"));
  for (const auto& one : type_urls) out += bytes_field(9, bytes_field(1, "x") + bytes_field(6, one));
  return out;
}

}  // namespace hawser::xds::test
