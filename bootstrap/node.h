// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

// What: who this proxy is towards an xDS control plane: envoy.config.core.v3.Node with the metadata that istiod reads
// (istio pkg/model/proxy.go). Pure. Booleans and lists are strings there, ports are numbers, and a wrong JSON type
// makes istiod refuse the whole stream. Failure: none; text that isn't UTF-8 is repaired.
namespace hawser::bootstrap {

// The Istio behaviour that we implement, not our own version: istiod decides by it which features a proxy can have.
inline constexpr const char* kIstioVersion = "1.31.0";

struct NodeOptions {
  std::vector<std::string> addresses;
  std::string workload_name;
  std::string ns;
  std::string service_account;
  std::string cluster_id;
  std::string mesh_id;
  std::string network;
  std::string group;     // WorkloadGroup
  std::string locality;  // region/zone/sub-zone
  std::string hostname;
  std::string discovery_address;
  std::map<std::string, std::string> labels;
  std::string pod_ports;        // JSON text, as a string value
  std::string readiness_probe;  // JSON text of ProxyConfig.readinessProbe; empty: the proxy's own readiness
  // Only with a DNS proxy that answers from the plane's name table: istiod then puts services without an address on
  // made-up ones (240.240.0.0/16), which nobody reaches whose names are resolved elsewhere.
  bool dns_capture = false;
  // Further metadata, without the prefix ISTIO_META_. A key that starts with ISTIO_METAJSON_ holds JSON text.
  std::map<std::string, std::string> extra;
};

std::string node_id(const NodeOptions& options);
nlohmann::ordered_json node_json(const NodeOptions& options);
// The same, as serialised envoy.config.core.v3.Node.
std::string node_bytes(const NodeOptions& options);

}  // namespace hawser::bootstrap
