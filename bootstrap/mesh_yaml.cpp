// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/mesh_yaml.h"

#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

namespace hawser::bootstrap {
namespace {

constexpr const char* kMakeAgain = "make the bundle again with 'istioctl x workload entry configure'";

// Collects the first problem with its place; the functions below return early once there is one.
class MeshReader {
 public:
  explicit MeshReader(std::string path) : path_(std::move(path)) {}

  Error problem(const YAML::Mark& mark, std::string id, std::string message, std::string hint) const {
    Error error(Code::kInvalidArgument, std::move(id), std::move(message), std::move(hint));
    error.at(mark.is_null() ? path_
                            : path_ + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1));
    return error;
  }
  Error bad(const YAML::Node& node, std::string message) const {
    return problem(node.Mark(), "HWS-ON-004", std::move(message), kMakeAgain);
  }
  Error cannot(const YAML::Node& node, std::string message, std::string hint) const {
    return problem(node.Mark(), "HWS-ON-007", std::move(message), std::move(hint));
  }

 private:
  std::string path_;
};

std::string scalar(const YAML::Node& node) {
  return node.IsDefined() && node.IsScalar() ? node.Scalar() : std::string();
}

// name → key of our health: block, where it is there
void copy(const YAML::Node& from, const char* name, YAML::Node to, const char* key) {
  if (const auto value = scalar(from[name]); !value.empty()) to[key] = value;
}

Status read_http(const MeshReader& reader, const YAML::Node& http, YAML::Node out) {
  const auto scheme = scalar(http["scheme"]);
  const bool https = scheme == "HTTPS" || scheme == "https";
  if (!scheme.empty() && !https && scheme != "HTTP" && scheme != "http")
    return reader.cannot(http["scheme"], "readinessProbe.httpGet.scheme is " + scheme,
                         "use scheme HTTP or HTTPS in the WorkloadGroup's probe");
  if (https) out["http"]["scheme"] = "https";
  copy(http, "path", out["http"], "path");
  copy(http, "host", out["http"], "host");
  out["http"]["port"] = scalar(http["port"]);
  for (const auto& header : http["httpHeaders"]) {
    if (!header.IsMap())
      return reader.bad(header, "readinessProbe.httpGet.httpHeaders must be a list of name and value");
    out["http"]["headers"][scalar(header["name"])] = scalar(header["value"]);
  }
  return {};
}

Status read_kind(const MeshReader& reader, const YAML::Node& probe, YAML::Node out) {
  if (const auto http = probe["httpGet"]; http.IsDefined()) return read_http(reader, http, out);
  if (const auto tcp = probe["tcpSocket"]; tcp.IsDefined()) {
    out["tcp"]["port"] = scalar(tcp["port"]);
    copy(tcp, "host", out["tcp"], "host");
    return {};
  }
  if (const auto exec = probe["exec"]; exec.IsDefined()) {
    for (const auto& word : exec["command"]) out["exec"]["command"].push_back(scalar(word));
    return {};
  }
  if (const auto grpc = probe["grpc"]; grpc.IsDefined()) {
    out["grpc"]["port"] = scalar(grpc["port"]);
    copy(grpc, "service", out["grpc"], "service");
    return {};
  }
  // Without its probe the program would count as healthy for ever.
  return reader.cannot(probe, "readinessProbe is neither httpGet, tcpSocket, grpc nor exec",
                       "use one of them in the WorkloadGroup's probe");
}

Status read_probe(const MeshReader& reader, const YAML::Node& probe, std::string& text) {
  if (!probe.IsDefined() || probe.IsNull()) return {};
  if (!probe.IsMap()) return reader.bad(probe, "readinessProbe must be a mapping");
  YAML::Node health(YAML::NodeType::Map);  // of a null node each copy would be its own
  if (auto read = read_kind(reader, probe, health); !read) return read;
  const std::pair<const char*, const char*> seconds[] = {
      {"periodSeconds", "period"}, {"timeoutSeconds", "timeout"}, {"initialDelaySeconds", "initial_delay"}};
  for (const auto& [theirs, ours] : seconds)
    if (const auto value = scalar(probe[theirs]); !value.empty() && value != "0") health[ours] = value + "s";
  const std::pair<const char*, const char*> counts[] = {{"successThreshold", "success_threshold"},
                                                        {"failureThreshold", "failure_threshold"}};
  for (const auto& [theirs, ours] : counts)
    if (const auto value = scalar(probe[theirs]); !value.empty() && value != "0") health[ours] = value;
  YAML::Emitter out;
  out << health;
  text = out.c_str();
  return {};
}

// What is JSON inside has to be.
Status check_json(const MeshReader& reader, const std::string& key, const YAML::Node& value) {
  const bool is_object = key == "ISTIO_METAJSON_LABELS";
  if (!is_object && key != "ISTIO_META_POD_PORTS") return {};
  const auto parsed = nlohmann::json::parse(value.Scalar(), nullptr, false);
  if (is_object ? parsed.is_object() : parsed.is_array()) return {};
  return reader.bad(value, key + " isn't a JSON " + (is_object ? "object" : "list"));
}

Status read_metadata(const MeshReader& reader, const YAML::Node& metadata, Bundle& bundle) {
  if (!metadata.IsDefined() || metadata.IsNull()) return {};
  if (!metadata.IsMap()) return reader.bad(metadata, "proxyMetadata must be a mapping");
  for (const auto& entry : metadata) {
    const std::string key = scalar(entry.first);
    if (!entry.second.IsScalar()) return reader.bad(entry.second, "proxyMetadata." + key + " must be a single value");
    if (auto checked = check_json(reader, key, entry.second); !checked) return checked;
    bundle.proxy_metadata[key] = entry.second.Scalar();
  }
  return {};
}

Status read_address(const MeshReader& reader, const YAML::Node& address, const YAML::Node& config, std::string& out) {
  out = scalar(address);
  const auto colon = out.rfind(':');
  if (out.empty()) return reader.bad(config, "defaultConfig.discoveryAddress is missing");
  if (colon == std::string::npos || colon == 0 || colon + 1 == out.size())
    return reader.bad(address, "defaultConfig.discoveryAddress '" + out + "' is no HOST:PORT");
  return {};
}

Status read_document(const MeshReader& reader, const YAML::Node& document, Bundle& bundle) {
  if (!document.IsMap()) return reader.bad(document, "defaultConfig is missing");
  const YAML::Node config = document["defaultConfig"];
  if (!config.IsDefined() || !config.IsMap()) return reader.bad(document, "defaultConfig is missing");
  if (auto read = read_address(reader, config["discoveryAddress"], config, bundle.discovery_address); !read)
    return read;
  if (auto read = read_metadata(reader, config["proxyMetadata"], bundle); !read) return read;
  return read_probe(reader, config["readinessProbe"], bundle.readiness_yaml);
}

}  // namespace

Status parse_mesh_yaml(const std::string& text, const std::string& path, Bundle& bundle) {
  const MeshReader reader(path);
  try {
    const YAML::Node document = YAML::Load(text);
    return read_document(reader, document, bundle);
  } catch (const YAML::Exception& error) {
    return reader.problem(error.mark, "HWS-ON-004", "not YAML: " + error.msg, kMakeAgain);
  }
}

}  // namespace hawser::bootstrap
