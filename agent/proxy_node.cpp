// SPDX-License-Identifier: Apache-2.0
#include "proxy_node.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "bootstrap/envoy_bootstrap.h"
#include "bootstrap/grpc_bootstrap.h"

namespace hawser {
namespace {

using nlohmann::ordered_json;

std::string pod_ports(const std::vector<config::ServicePort>& ports) {
  if (ports.empty()) return {};
  ordered_json out = ordered_json::array();
  for (const auto& port : ports)
    out.push_back({{"name", port.name}, {"containerPort", port.port}, {"protocol", port.protocol}});
  return out.dump();
}

long whole_seconds(config::Millis time) {
  return std::max<long>(1, static_cast<long>(time.count() / 1000));
}

// istio.mesh.v1alpha1.ReadinessProbe as JSON: its presence makes istiod wait for our reports. It has room for one
// probe, and nobody but us carries it out; so the first one stands for all of them.
std::string readiness_probe(const std::vector<config::HealthProbe>& probes) {
  using Kind = config::HealthProbe::Kind;
  if (probes.empty()) return {};
  const config::HealthProbe& probe = probes.front();
  ordered_json out;
  if (probe.kind == Kind::kHttp) {
    out["httpGet"] = {{"path", probe.http_path}, {"port", probe.port}};
    if (probe.tls) out["httpGet"]["scheme"] = "HTTPS";
  }
  if (probe.kind == Kind::kTcp) out["tcpSocket"] = {{"port", probe.port}};
  if (probe.kind == Kind::kExec) out["exec"] = {{"command", probe.command}};
  if (probe.kind == Kind::kGrpc) out["grpc"] = {{"port", probe.port}, {"service", probe.grpc_service}};
  out["periodSeconds"] = whole_seconds(probe.period);
  out["timeoutSeconds"] = whole_seconds(probe.timeout);
  return out.dump();
}

}  // namespace

bootstrap::NodeOptions node_options(const config::Config& config, const HostFacts& facts) {
  bootstrap::NodeOptions out;
  out.addresses = facts.addresses;
  out.workload_name = config.workload.name;
  out.ns = config.mesh.ns;
  out.service_account = config.workload.service_account;
  out.cluster_id = config.mesh.cluster_id;
  out.mesh_id = config.mesh.id;
  out.network = config.mesh.network;
  out.group = config.workload.group;
  out.locality = config.workload.locality;
  out.hostname = facts.hostname;
  out.discovery_address = config.control_plane.address.text();
  out.labels = config.workload.labels;
  out.pod_ports = pod_ports(config.workload.ports);
  out.readiness_probe = readiness_probe(config.health_probes());
  out.extra = config.workload.metadata;
  return out;
}

std::string proxy_bootstrap(const config::Config& config, const HostFacts& facts, const std::string& run_dir,
                            const std::string& generation) {
  bootstrap::EnvoyOptions options;
  options.node = node_options(config, facts);
  options.generation = generation;
  options.admin_folder = run_dir + "/proxy";
  options.xds_socket = run_dir + "/xds.sock";
  options.sds_socket = run_dir + "/sds.sock";
  options.status_port = config.status_port;
  // ipv6.disable=1 on the kernel's command line leaves no such file
  options.ipv6 = file::exists("/proc/self/net/if_inet6");
  return bootstrap::envoy_bootstrap(options);
}

std::string program_bootstrap(const config::Config& config, const HostFacts& facts, const std::string& run_dir) {
  bootstrap::GrpcOptions options;
  options.node = node_options(config, facts);
  options.xds_socket = run_dir + "/proxyless.sock";
  for (const auto& target : config.exports)
    if (target.layout == config::ExportSettings::Layout::kSpiffe) options.credentials_folder = target.to;
  return bootstrap::grpc_bootstrap(options);
}

}  // namespace hawser
