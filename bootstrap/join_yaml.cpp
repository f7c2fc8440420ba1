// SPDX-License-Identifier: Apache-2.0
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bootstrap/onboarding.h"

namespace hawser::bootstrap {
namespace {

using nlohmann::json;

constexpr const char* kLocalityLabels[] = {"topology.istio.io/locality", "istio-locality"};

std::string value_or(const std::map<std::string, std::string>& map, const std::string& key,
                     const std::string& fallback = {}) {
  const auto found = map.find(key);
  return found == map.end() || found->second.empty() ? fallback : found->second;
}

void entry(YAML::Emitter& out, const char* key, const std::string& value) {
  if (!value.empty()) out << YAML::Key << key << YAML::Value << value;
}

void begin(YAML::Emitter& out, const char* key) {
  out << YAML::Key << key << YAML::Value << YAML::BeginMap;
}

// Values in quotes: "true" and "1" have to stay text for whoever reads this file later.
void text_map(YAML::Emitter& out, const char* key, const std::map<std::string, std::string>& map) {
  if (map.empty()) return;
  begin(out, key);
  for (const auto& [name, value] : map) out << YAML::Key << name << YAML::Value << YAML::DoubleQuoted << value;
  out << YAML::EndMap;
}

std::map<std::string, std::string> labels_of(const Bundle& bundle) {
  std::map<std::string, std::string> labels;
  const auto parsed = json::parse(value_or(bundle.proxy_metadata, "ISTIO_METAJSON_LABELS", "{}"), nullptr, false);
  for (const auto& [key, value] : parsed.items())
    if (value.is_string()) labels[key] = value.get<std::string>();
  // The stock agent turns these two into labels as well.
  for (const auto& [key, label] : {std::pair("CANONICAL_SERVICE", "service.istio.io/canonical-name"),
                                   std::pair("CANONICAL_REVISION", "service.istio.io/canonical-revision")})
    if (const auto value = value_or(bundle.proxy_metadata, key); !value.empty()) labels.emplace(label, value);
  return labels;
}

// Kubernetes' labels can't hold a slash, so there the parts are joined by dots.
std::string locality_of(const std::map<std::string, std::string>& labels) {
  for (const char* label : kLocalityLabels) {
    std::string value = value_or(labels, label);
    if (value.empty()) continue;
    if (value.find('/') == std::string::npos) std::replace(value.begin(), value.end(), '.', '/');
    return value;
  }
  return {};
}

void write_ports(YAML::Emitter& out, const Bundle& bundle) {
  const auto ports = json::parse(value_or(bundle.proxy_metadata, "ISTIO_META_POD_PORTS", "[]"), nullptr, false);
  if (!ports.is_array() || ports.empty()) return;
  out << YAML::Key << "ports" << YAML::Value << YAML::BeginSeq;
  for (const auto& port : ports) {
    if (!port.is_object() || !port.contains("containerPort") || !port["containerPort"].is_number_unsigned()) continue;
    const auto text = [&port](const char* key, const char* fallback) {
      return port.contains(key) && port[key].is_string() ? port[key].get<std::string>() : std::string(fallback);
    };
    out << YAML::BeginMap;
    entry(out, "name", text("name", ""));
    out << YAML::Key << "port" << YAML::Value << port["containerPort"].get<unsigned>();
    entry(out, "protocol", text("protocol", "TCP"));
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

// Metadata that has no key of its own here is carried as it is: ISTIO_META_X as X, JSON with its whole name, since its
// value is an object to the control plane.
std::map<std::string, std::string> other_metadata(const Bundle& bundle) {
  static const std::string kText = "ISTIO_META_";
  static const std::string kJson = "ISTIO_METAJSON_";
  static const std::vector<std::string> kOwn = {"AUTO_REGISTER_GROUP", "CLUSTER_ID",   "MESH_ID", "NETWORK",
                                                "POD_PORTS",           "WORKLOAD_NAME"};
  std::map<std::string, std::string> rest;
  for (const auto& [key, value] : bundle.proxy_metadata) {
    if (key.rfind(kJson, 0) == 0 && key != "ISTIO_METAJSON_LABELS") rest[key] = value;
    if (key.rfind(kText, 0) != 0) continue;
    const std::string name = key.substr(kText.size());
    if (std::find(kOwn.begin(), kOwn.end(), name) == kOwn.end()) rest[name] = value;
  }
  return rest;
}

void write_mesh(YAML::Emitter& out, const Bundle& bundle) {
  const auto& meta = bundle.proxy_metadata;
  begin(out, "mesh");
  entry(out, "trust_domain", value_or(meta, "TRUST_DOMAIN", "cluster.local"));
  entry(out, "namespace", value_or(meta, "POD_NAMESPACE", value_or(bundle.env, "ISTIO_NAMESPACE", "default")));
  entry(out, "cluster_id", value_or(meta, "ISTIO_META_CLUSTER_ID", "Kubernetes"));
  entry(out, "id", value_or(meta, "ISTIO_META_MESH_ID"));
  entry(out, "network", value_or(meta, "ISTIO_META_NETWORK"));
  out << YAML::EndMap;
}

void write_workload(YAML::Emitter& out, const Bundle& bundle) {
  const auto& meta = bundle.proxy_metadata;
  const std::string group = value_or(meta, "ISTIO_META_AUTO_REGISTER_GROUP");
  const auto labels = labels_of(bundle);
  begin(out, "workload");
  entry(out, "name", value_or(meta, "ISTIO_META_WORKLOAD_NAME", group.empty() ? "vm" : group));
  entry(out, "group", group);
  entry(out, "service_account", value_or(meta, "SERVICE_ACCOUNT", value_or(bundle.env, "SERVICE_ACCOUNT", "default")));
  entry(out, "address", value_or(bundle.env, "ISTIO_SVC_IP"));
  entry(out, "locality", locality_of(labels));
  text_map(out, "labels", labels);
  write_ports(out, bundle);
  text_map(out, "metadata", other_metadata(bundle));
  out << YAML::EndMap;
}

void write_plane(YAML::Emitter& out, const Bundle& bundle) {
  begin(out, "control_plane");
  entry(out, "address", bundle.discovery_address);
  if (!bundle.dial.empty()) out << YAML::Key << "dial" << YAML::Value << YAML::Flow << bundle.dial;
  out << YAML::Key << "root" << YAML::Value << YAML::Literal << bundle.root_pem << YAML::EndMap;
}

void write_identity(YAML::Emitter& out, const Bundle& bundle) {
  const auto& from = bundle.identity;
  if (!bundle.ca_address.empty() || !from.ca_root.empty() || !from.cert_signer.empty() || !from.ca_headers.empty()) {
    begin(out, "ca");
    entry(out, "address", bundle.ca_address);
    entry(out, "root", from.ca_root);
    entry(out, "cert_signer", from.cert_signer);
    text_map(out, "headers", from.ca_headers);
    out << YAML::EndMap;
  }
  if (from.key.empty() && from.ttl.empty() && from.renew_at.empty()) return;
  begin(out, "identity");
  entry(out, "key", from.key);
  entry(out, "ttl", from.ttl);
  entry(out, "renew_at", from.renew_at);
  out << YAML::EndMap;
}

std::vector<std::string> split(const std::string& comma_list) {
  std::vector<std::string> out;
  std::istringstream items(comma_list);
  for (std::string item; std::getline(items, item, ',');) {
    item.erase(std::remove_if(item.begin(), item.end(), [](char c) { return c == ' ' || c == '\t'; }), item.end());
    if (!item.empty()) out.push_back(item);
  }
  return out;
}

void write_list(YAML::Emitter& out, const char* key, const std::string& comma_list) {
  const auto items = split(comma_list);
  if (!items.empty()) out << YAML::Key << key << YAML::Value << YAML::Flow << items;
}

// '*' is all, and empty means that this direction isn't captured. istioctl always writes both; absent is our default.
std::string captured(const Bundle& bundle, const char* key) {
  const auto found = bundle.env.find(key);
  return found == bundle.env.end() ? "*" : found->second;
}

void write_interception(YAML::Emitter& out, const Bundle& bundle) {
  const std::string inbound = captured(bundle, "ISTIO_INBOUND_PORTS");
  begin(out, "interception");
  begin(out, "inbound");
  if (split(inbound).empty())
    out << YAML::Key << "enabled" << YAML::Value << false;
  else if (inbound == "*")
    entry(out, "ports", "all");
  else
    write_list(out, "ports", inbound);
  write_list(out, "exclude", value_or(bundle.env, "ISTIO_LOCAL_EXCLUDE_PORTS"));
  out << YAML::EndMap;
  begin(out, "outbound");
  if (captured(bundle, "ISTIO_SERVICE_CIDR").empty())
    out << YAML::Key << "enabled" << YAML::Value << false;
  else
    entry(out, "cidrs", "all");
  write_list(out, "exclude_cidrs", value_or(bundle.env, "ISTIO_SERVICE_EXCLUDE_CIDR"));
  write_list(out, "exclude_ports", value_or(bundle.env, "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"));
  out << YAML::EndMap;
  // The bundle is istiod's, whose inbound clusters call from 127.0.0.6 and ::6: no loop.
  out << YAML::Key << "self_call" << YAML::Value << true << YAML::EndMap;
}

}  // namespace

std::string to_join_yaml(const Bundle& bundle) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  write_mesh(out, bundle);
  write_workload(out, bundle);
  write_plane(out, bundle);
  write_identity(out, bundle);
  write_interception(out, bundle);
  out << YAML::EndMap;
  std::string text = "# Written by 'hawser join', removed by 'hawser leave'.\n" + std::string(out.c_str()) + "\n";
  if (bundle.readiness_yaml.empty()) return text;
  text += "health:\n";
  std::istringstream lines(bundle.readiness_yaml);
  for (std::string line; std::getline(lines, line);) text += "  " + line + "\n";
  return text;
}

}  // namespace hawser::bootstrap
