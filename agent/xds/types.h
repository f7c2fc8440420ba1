// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

// What: what the relay knows of xDS resource types: their names, the order in which they must reach a proxy, and which
// of them may reach it at all. Threading: pure functions.
namespace hawser::xds {

inline constexpr std::string_view kClusterType = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
inline constexpr std::string_view kEndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
inline constexpr std::string_view kListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener";
inline constexpr std::string_view kRouteType = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
inline constexpr std::string_view kWorkloadType = "type.googleapis.com/istio.workload.Workload";
// A bare marker: no message of this name exists, a request of this type carries only error_detail.
inline constexpr std::string_view kHealthType = "type.googleapis.com/istio.v1.HealthInformation";
// Whom to trust, as the control plane tells an agent.
inline constexpr std::string_view kProxyConfigType = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";
inline constexpr std::string_view kWildcard = "*";

// May resources of this type reach the proxy, and may the proxy ask for them? Others are meant for the agent.
bool forwardable(std::string_view type_url);

// Is this type always asked for by name? An empty first list of such a type asks for nothing; sent to a control plane
// it would mean "all". `*` still asks for all.
bool named_type(std::string_view type_url);

// Clusters, endpoints, listeners, routes, then everything else by name: a resource never precedes what it refers to.
struct TypeOrder {
  using is_transparent = void;
  bool operator()(std::string_view left, std::string_view right) const;
};

// The message's bare name, for metrics and logs: "Cluster".
std::string short_name(std::string_view type_url);

}  // namespace hawser::xds
