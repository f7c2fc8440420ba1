// SPDX-License-Identifier: Apache-2.0
#include "xds/debug_wire.h"

#include <google/protobuf/any.pb.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <vector>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "envoy/service/status/v3/csds.pb.h"

namespace hawser::xds {
namespace {

using envoy::config::core::v3::Node;
using envoy::service::discovery::v3::DiscoveryRequest;
using envoy::service::discovery::v3::DiscoveryResponse;
using envoy::service::status::v3::ClientConfig;
using nlohmann::json;

constexpr char kDebug[] = "istio.io/debug";
constexpr char kSyncz[] = "syncz";
constexpr char kClientConfig[] = "type.googleapis.com/envoy.service.status.v3.ClientConfig";
// admin.sock's frames hold 4 MB.
constexpr std::size_t kMaxAnswer = std::size_t{3} << 20;

Error wrong(Code code, std::string what, std::string hint) {
  return Error(code, "HWS-XDS-033", std::move(what), std::move(hint));
}

std::string bare(const std::string& type) {
  const std::string prefix = std::string(kDebug) + "/";
  return type.starts_with(prefix) ? type.substr(prefix.size()) : type;
}

bool is_word(const std::string& text, const std::string& more) {
  return !text.empty() && text.size() <= 1024 && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return std::isalnum(c) != 0 || more.find(static_cast<char>(c)) != std::string::npos;
  });
}

// sidecar~IP~NAME.NAMESPACE~DOMAIN
std::vector<std::string> split_id(const std::string& id) {
  std::vector<std::string> out(1);
  for (const char c : id) {
    if (c == '~')
      out.emplace_back();
    else
      out.back().push_back(c);
  }
  return out;
}

Node asking_node(const Node& host) {
  Node out;
  auto parts = split_id(host.id());
  if (parts.size() == 4) {
    const auto dot = parts[2].rfind('.');
    parts[2] = "hawser-debug" + (dot == std::string::npos ? std::string() : parts[2].substr(dot));
    out.set_id(parts[0] + "~" + parts[1] + "~" + parts[2] + "~" + parts[3]);
  } else {
    out.set_id(host.id());
  }
  out.set_cluster(host.cluster());
  // What proves the identity; no group to register with, and nothing by which the asking stream counts as a proxy.
  for (const char* key : {"NAMESPACE", "SERVICE_ACCOUNT", "CLUSTER_ID", "ISTIO_VERSION"}) {
    const auto found = host.metadata().fields().find(key);
    if (found != host.metadata().fields().end()) (*out.mutable_metadata()->mutable_fields())[key] = found->second;
  }
  return out;
}

json client_config(const ClientConfig& config) {
  json types = json::array();
  for (const auto& item : config.generic_xds_configs()) {
    json one = {{"type_url", item.type_url()}, {"status", ConfigStatus_Name(item.config_status())}};
    if (item.has_last_updated()) one["last_updated"] = google::protobuf::util::TimeUtil::ToString(item.last_updated());
    if (!item.version_info().empty()) one["version"] = item.version_info();
    if (item.has_error_state()) one["error"] = item.error_state().details();
    types.push_back(std::move(one));
  }
  return {{"proxy", config.node().id()}, {"types", std::move(types)}};
}

std::string base64(const std::string& bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) out.push_back(i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63]);
  }
  return out;
}

bool is_text(const std::string& bytes) {
  try {
    (void)json(bytes).dump();
    return bytes.find('\0') == std::string::npos;
  } catch (const json::exception&) {
    return false;
  }
}

json content(const google::protobuf::Any& any) {
  ClientConfig config;
  if (any.type_url() == kClientConfig && config.ParseFromString(any.value())) return client_config(config);
  if (auto parsed = json::parse(any.value(), nullptr, false); !parsed.is_discarded()) return parsed;
  if (is_text(any.value())) return {{"text", any.value()}};
  return {{"type_url", any.type_url()}, {"base64", base64(any.value())}};
}

}  // namespace

Result<DebugRequest> make_debug_request(const DebugQuestion& question, const std::string& host_node) {
  const std::string type = bare(question.type);
  if (!is_word(type, "_-/."))
    return wrong(Code::kInvalidArgument, "'" + question.type + "' can't be a debug type",
                 "one such as syncz, config_dump, edsz or ndsz");
  if (!question.resource.empty() && !is_word(question.resource, "_-./:=&,@"))
    return wrong(Code::kInvalidArgument, "'" + question.resource + "' can't be a resource's name",
                 "NAME.NAMESPACE of a proxy, or a query such as proxyID=NAME.NAMESPACE");
  Node host;
  if (!host.ParseFromString(host_node) || host.id().empty())
    return wrong(Code::kFailedPrecondition, "the host has no node to ask with yet", "hawser status");
  DebugRequest out;
  DiscoveryRequest message;
  *message.mutable_node() = asking_node(host);
  if (type == kSyncz) {
    out.type_url = std::string(kDebug) + "/" + kSyncz;
    out.name = question.resource;
  } else {
    out.type_url = kDebug;
    const auto parts = split_id(host.id());
    const std::string own = parts.size() == 4 ? parts[2] : host.id();
    const bool whole = question.resource.find('=') != std::string::npos;
    out.name = type + "?" + (whole ? "" : "proxyID=") + (question.resource.empty() ? own : question.resource);
  }
  message.set_type_url(out.type_url);
  if (!out.name.empty()) message.add_resource_names(out.name);
  out.bytes = message.SerializeAsString();
  return out;
}

Result<std::string> debug_json(const DebugQuestion& question, const DebugRequest& request,
                               const std::string& response) {
  const auto too_large = [] {
    return wrong(Code::kResourceExhausted, "the answer is larger than 3 MB",
                 "ask for one proxy or one kind: --resource 'proxyID=NAME.NAMESPACE&types=LDS'");
  };
  if (response.size() > kMaxAnswer) return too_large();
  DiscoveryResponse message;
  if (!message.ParseFromString(response))
    return wrong(Code::kInternal, "the control plane's answer isn't a discovery response",
                 "what answers there may not be an ADS v3 server");
  json resources = json::array();
  for (const auto& bytes : message.resources()) {
    google::protobuf::Any any;
    if (!any.ParseFromString(bytes))
      return wrong(Code::kInternal, "a resource of the control plane's answer can't be read", "see its log");
    json one = content(any);
    // istiod answers syncz for all proxies of the namespace, whatever name is asked for.
    if (!request.name.empty() && one.is_object() && one.contains("proxy") && one["proxy"] != request.name) continue;
    resources.push_back(std::move(one));
  }
  const json out = {{"schema_version", 1},
                    {"type", bare(question.type)},
                    {"type_url", request.type_url},
                    {"name", request.name},
                    {"resources", std::move(resources)}};
  std::string text = out.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMaxAnswer) return too_large();
  return text;
}

}  // namespace hawser::xds
