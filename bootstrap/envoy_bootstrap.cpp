// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/envoy_bootstrap.h"

#include <nlohmann/json.hpp>

#include "bootstrap/own_listeners.h"

namespace hawser::bootstrap {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kSocketMode = 0660;

Json pipe_endpoint(const std::string& path) {
  return {{"pipe", {{"path", path}}}};
}
Json socket_endpoint(const std::string& address, unsigned port) {
  return {{"socket_address", {{"address", address}, {"port_value", port}}}};
}

Json cluster(const std::string& name, const Json& address) {
  return {{"name", name},
          {"type", "STATIC"},
          {"connect_timeout", "1s"},
          {"load_assignment",
           {{"cluster_name", name},
            {"endpoints", Json::array({{{"lb_endpoints", Json::array({{{"endpoint", {{"address", address}}}}})}}})}}}};
}

Json http2(Json base) {
  base["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"] = {
      {"@type", "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"},
      {"explicit_http_config", {{"http2_protocol_options", Json::object()}}}};
  return base;
}

// Streams of xDS and SDS must never queue behind a limit meant for users' requests.
Json unlimited(Json base) {
  Json threshold = {{"priority", "DEFAULT"}};
  for (const char* limit : {"max_connections", "max_pending_requests", "max_requests"}) threshold[limit] = 100000;
  Json high = threshold;
  high["priority"] = "HIGH";
  base["circuit_breakers"]["thresholds"] = Json::array({threshold, high});
  return base;
}

Json http_filter_router() {
  return Json::array(
      {{{"name", "envoy.filters.http.router"},
        {"typed_config", {{"@type", "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}}});
}

Json http_listener(const std::string& name, const Json& address, const Json& route) {
  Json manager = {
      {"@type",
       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"},
      {"stat_prefix", name},
      {"http_filters", http_filter_router()},
      {"route_config",
       {{"virtual_hosts",
         Json::array({{{"name", "local"}, {"domains", Json::array({"*"})}, {"routes", Json::array({route})}}})}}}};
  Json listener = {{"name", name},
                   {"address", address},
                   {"filter_chains",
                    Json::array({{{"filters", Json::array({{{"name", "envoy.filters.network.http_connection_manager"},
                                                            {"typed_config", manager}}})}}})}};
  // probes have to get through when users' connections are limited
  listener["bypass_overload_manager"] = true;
  listener["ignore_global_conn_limit"] = true;
  return listener;
}

Json static_listener(const std::string& name, unsigned port, const std::string& path, const std::string& target,
                     bool ipv6) {
  Json listener = http_listener(name, socket_endpoint("0.0.0.0", port),
                                {{"match", {{"path", path}}}, {"route", {{"cluster", target}}}});
  if (ipv6) listener["additional_addresses"] = Json::array({{{"address", socket_endpoint("::", port)}}});
  return listener;
}

// On a path of its own, so that another generation neither shares nor inherits it.
Json worker_listener(const EnvoyOptions& options) {
  Json address = pipe_endpoint(options.admin_folder + "/" + options.generation + std::string(kWorkerSocketSuffix));
  address["pipe"]["mode"] = kSocketMode;
  Json listener =
      http_listener(std::string(kWorkerListener), address,
                    {{"match", {{"path", "/"}}},
                     {"direct_response", {{"status", 200}, {"body", {{"inline_string", options.generation}}}}}});
  listener["stat_prefix"] = kWorkerListener;
  return listener;
}

Json grpc_service(const std::string& cluster_name, const std::string& generation) {
  return {{"envoy_grpc", {{"cluster_name", cluster_name}}},
          {"initial_metadata", Json::array({{{"key", "x-hawser-generation"}, {"value", generation}}})}};
}

Json dynamic_resources(const std::string& generation) {
  // 0s: no time-out. With one, a proxy without its control plane turns LIVE without listeners.
  const Json ads = {{"ads", Json::object()}, {"initial_fetch_timeout", "0s"}, {"resource_api_version", "V3"}};
  return {{"lds_config", ads},
          {"cds_config", ads},
          {"ads_config",
           {{"api_type", "DELTA_GRPC"},
            {"transport_api_version", "V3"},
            {"set_node_on_first_message_only", true},
            {"grpc_services", Json::array({grpc_service("xds-grpc", generation)})}}}};
}

Json tags() {
  Json out = Json::array();
  const auto tag = [&out](const char* name, const char* regex) {
    out.push_back({{"tag_name", name}, {"regex", regex}});
  };
  tag("cluster_name", "^cluster\\.((.+?(\\..+?\\.svc\\.cluster\\.local)?)\\.)");
  tag("tcp_prefix", "^tcp\\.((.*?)\\.)\\w+?$");
  tag("http_conn_manager_prefix", "^http\\.((.+?)\\.)(?:rq|cx|downstream|rbac)");
  tag("response_code", "(response_code=\\.=(.+?);\\.;)|_rq(_(\\d{3}))$");
  tag("response_code_class", "_rq(_(\\dxx))$");
  tag("listener_address", "^listener\\.(((?:[_.[:digit:]]*|[_\\[\\]aAbBcCdDeEfF[:digit:]]*))\\.)");
  // istio.stats writes its labels into the name: tag=.=value;.;
  for (const char* label : {"reporter",
                            "source_workload",
                            "source_workload_namespace",
                            "source_principal",
                            "source_app",
                            "source_version",
                            "source_canonical_service",
                            "source_canonical_revision",
                            "source_cluster",
                            "destination_workload",
                            "destination_workload_namespace",
                            "destination_principal",
                            "destination_app",
                            "destination_version",
                            "destination_service",
                            "destination_service_name",
                            "destination_service_namespace",
                            "destination_canonical_service",
                            "destination_canonical_revision",
                            "destination_cluster",
                            "request_protocol",
                            "grpc_response_status",
                            "response_flags",
                            "connection_security_policy"})
    tag(label, (std::string("(") + label + "=\\.=(.*?);\\.;)").c_str());
  return out;
}

// A mesh has thousands of clusters with some 150 statistics each, most of them never looked at. What is left in: what
// the supervisor reads (configuration, control_plane, listeners' connections: a drain waits for them), and of each
// cluster what an alert or a graph is made of. Readiness is read from /ready and /listeners, not from statistics.
Json matcher() {
  Json patterns = Json::array();
  for (const char* prefix : {"cluster_manager", "listener_manager", "listener.", "server.", "control_plane.", "sds.",
                             "main_thread.", "overload.", "http.", "tcp.", "cluster.xds-grpc", "cluster.sds-grpc",
                             "reporter=", "istio", "component", "wasm"})
    patterns.push_back({{"prefix", prefix}});
  for (const char* suffix : {"rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied", "ssl.handshake",
                             "ssl.connection_error", "membership_healthy", "membership_total", "update_rejected"})
    patterns.push_back({{"suffix", suffix}});
  const std::string cluster =
      "^cluster\\..*\\.(upstream_cx_(active|total|connect_fail|rx_bytes_total|tx_bytes_total|overflow)"
      "|upstream_rq_(active|total|time|timeout|retry|pending_overflow|[1-5]xx))$";
  patterns.push_back({{"safe_regex", {{"regex", cluster}}}});
  return {{"inclusion_list", {{"patterns", patterns}}}};
}

Json stats_config() {
  return {{"stats_tags", tags()}, {"use_all_default_tags", false}, {"stats_matcher", matcher()}};
}

// Beyond it connections are refused one by one and counted, instead of the whole proxy running out of descriptors: a
// connection takes two, and systemd's default hard limit is 524,288.
Json overload_manager() {
  return {{"resource_monitors",
           Json::array({{{"name", "envoy.resource_monitors.global_downstream_max_connections"},
                         {"typed_config",
                          {{"@type",
                            "type.googleapis.com/"
                            "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"},
                           {"max_active_downstream_connections", 250000}}}}})}};
}

Json runtime() {
  return {{"layers", Json::array({{{"name", "hawser"},
                                   {"static_layer",
                                    {{"re2.max_program_size.error_level", 32768},
                                     {"envoy.reloadable_features.http_reject_path_with_fragment", false}}}},
                                  {{"name", "admin"}, {"admin_layer", Json::object()}}})}};
}

}  // namespace

std::string envoy_bootstrap(const EnvoyOptions& options) {
  const std::string admin = options.admin_folder + "/" + options.generation + ".admin.sock";
  Json out;
  out["node"] = node_json(options.node);
  out["admin"] = {{"address", {{"pipe", {{"path", admin}, {"mode", kSocketMode}}}}}};
  out["layered_runtime"] = runtime();
  out["stats_config"] = stats_config();
  // What isn't flushed at a hot restart is counted twice, by this process and by the next.
  out["stats_flush_interval"] = "1s";
  out["overload_manager"] = overload_manager();
  out["dynamic_resources"] = dynamic_resources(options.generation);
  out["static_resources"]["clusters"] = Json::array({
      unlimited(http2(cluster("xds-grpc", pipe_endpoint(options.xds_socket)))),
      unlimited(http2(cluster("sds-grpc", pipe_endpoint(options.sds_socket)))),
      cluster("agent", socket_endpoint("127.0.0.1", options.status_port)),
      cluster("prometheus_stats", pipe_endpoint(admin)),
  });
  out["static_resources"]["listeners"] = Json::array({
      static_listener("hawser_readiness", 15021, "/healthz/ready", "agent", options.ipv6),
      static_listener("hawser_prometheus", 15090, "/stats/prometheus", "prometheus_stats", options.ipv6),
      worker_listener(options),
  });
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace hawser::bootstrap
