// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/node.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>

#include "envoy/config/core/v3/base.pb.h"

namespace hawser::bootstrap {
namespace {

using nlohmann::ordered_json;

std::string comma_list(const std::vector<std::string>& list) {
  std::string text;
  for (const auto& item : list) text += (text.empty() ? "" : ",") + item;
  return text;
}

// What stands where a pod's name would.
std::string host_part(const NodeOptions& options) {
  return options.hostname.empty() ? options.workload_name : options.hostname;
}

void set_if(ordered_json& object, const char* key, const std::string& value) {
  if (!value.empty()) object[key] = value;
}

ordered_json labels_of(const NodeOptions& options) {
  ordered_json labels = options.labels;
  if (!labels.is_object()) labels = ordered_json::object();
  if (!labels.contains("service.istio.io/canonical-name"))
    labels["service.istio.io/canonical-name"] = options.workload_name;
  if (!labels.contains("service.istio.io/canonical-revision")) {
    const auto version = options.labels.find("version");
    labels["service.istio.io/canonical-revision"] = version == options.labels.end() ? "latest" : version->second;
  }
  return labels;
}

ordered_json proxy_config(const NodeOptions& options) {
  ordered_json config = {{"discoveryAddress", options.discovery_address}, {"statusPort", 15020}};
  // A probe here makes istiod annotate the WorkloadEntry, so that it is no endpoint before our first healthy report and
  // none after our last. Without a probe of the program that still has to hold: nobody may come before interception
  // works.
  auto probe = ordered_json::parse(options.readiness_probe, nullptr, false);
  if (!probe.is_object()) probe = {{"httpGet", {{"path", "/healthz/ready"}, {"port", 15021}}}};
  config["readinessProbe"] = std::move(probe);
  return config;
}

// istiod reads these as integers.
bool is_port_key(const std::string& key) {
  return key == "ENVOY_SECURE_METRICS_PORT" || key == "ENVOY_SECURE_MERGED_METRICS_PORT";
}

void add_extra(ordered_json& out, const NodeOptions& options) {
  static const std::string kJson = "ISTIO_METAJSON_";
  for (const auto& [key, value] : options.extra) {
    if (!options.dns_capture && (key == "DNS_CAPTURE" || key == "DNS_AUTO_ALLOCATE")) continue;
    const bool is_json = key.rfind(kJson, 0) == 0;
    if (!is_json && !is_port_key(key)) {
      out[key] = value;
      continue;
    }
    auto parsed = ordered_json::parse(value, nullptr, false);
    if (is_json ? parsed.is_discarded() : !parsed.is_number_unsigned()) continue;
    out[is_json ? key.substr(kJson.size()) : key] = std::move(parsed);
  }
}

ordered_json metadata(const NodeOptions& options) {
  ordered_json out = ordered_json::object();
  add_extra(out, options);
  out["INSTANCE_IPS"] = comma_list(options.addresses);
  out["NAMESPACE"] = options.ns;
  out["SERVICE_ACCOUNT"] = options.service_account;
  out["WORKLOAD_NAME"] = options.workload_name;
  out["NAME"] = host_part(options);
  out["ISTIO_VERSION"] = kIstioVersion;
  out["INTERCEPTION_MODE"] = "REDIRECT";
  // numbers: Go's decoder refuses a string for an int
  out["ENVOY_STATUS_PORT"] = 15021;
  out["ENVOY_PROMETHEUS_PORT"] = 15090;
  if (options.dns_capture) out["DNS_CAPTURE"] = "true";
  set_if(out, "CLUSTER_ID", options.cluster_id);
  set_if(out, "MESH_ID", options.mesh_id);
  set_if(out, "NETWORK", options.network);
  set_if(out, "AUTO_REGISTER_GROUP", options.group);
  set_if(out, "POD_PORTS", options.pod_ports);
  out["LABELS"] = labels_of(options);
  out["PROXY_CONFIG"] = proxy_config(options);
  return out;
}

ordered_json locality(const std::string& text) {
  ordered_json out = ordered_json::object();
  std::size_t begin = 0;
  for (const char* key : {"region", "zone", "sub_zone"}) {
    if (begin > text.size()) break;
    const auto end = text.find('/', begin);
    set_if(out, key, text.substr(begin, end == std::string::npos ? end : end - begin));
    if (end == std::string::npos) break;
    begin = end + 1;
  }
  return out;
}

// Struct is a map: without this each run would order its keys otherwise, and equal nodes would look different.
std::string deterministic(const google::protobuf::MessageLite& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&out);
  }
  return bytes;
}

}  // namespace

std::string node_id(const NodeOptions& options) {
  const std::string address = options.addresses.empty() ? "127.0.0.1" : options.addresses.front();
  return "sidecar~" + address + "~" + host_part(options) + "." + options.ns + "~" + options.ns + ".svc.cluster.local";
}

ordered_json node_json(const NodeOptions& options) {
  ordered_json node = {{"id", node_id(options)}, {"cluster", options.workload_name + "." + options.ns}};
  if (auto place = locality(options.locality); !place.empty()) node["locality"] = place;
  node["metadata"] = metadata(options);
  return node;
}

std::string node_bytes(const NodeOptions& options) {
  const ordered_json json = node_json(options);
  envoy::config::core::v3::Node node;
  node.set_id(json["id"].get<std::string>());
  node.set_cluster(json["cluster"].get<std::string>());
  if (json.contains("locality")) {
    node.mutable_locality()->set_region(json["locality"].value("region", ""));
    node.mutable_locality()->set_zone(json["locality"].value("zone", ""));
    node.mutable_locality()->set_sub_zone(json["locality"].value("sub_zone", ""));
  }
  // json_util only fails on text that isn't JSON, and this is
  const auto text = json["metadata"].dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  (void)google::protobuf::util::JsonStringToMessage(text, node.mutable_metadata());
  return deterministic(node);
}

}  // namespace hawser::bootstrap
