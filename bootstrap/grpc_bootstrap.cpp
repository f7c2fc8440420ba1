// SPDX-License-Identifier: Apache-2.0
#include "bootstrap/grpc_bootstrap.h"

#include <nlohmann/json.hpp>

namespace hawser::bootstrap {
namespace {

using nlohmann::ordered_json;

// istiod's configuration names this instance.
constexpr char kProvider[] = "default";

ordered_json node_of(const GrpcOptions& options) {
  NodeOptions node = options.node;
  // The host is registered by its own stream.
  node.group.clear();
  ordered_json out = node_json(node);
  out["metadata"]["GENERATOR"] = "grpc";
  return out;
}

ordered_json provider(const std::string& folder) {
  return {{"plugin_name", "file_watcher"},
          {"config",
           {{"certificate_file", folder + "/certificates.pem"},
            {"private_key_file", folder + "/private_key.pem"},
            {"ca_certificate_file", folder + "/ca_certificates.pem"},
            {"refresh_interval", "900s"}}}};
}

}  // namespace

std::string grpc_bootstrap(const GrpcOptions& options) {
  ordered_json server = {{"server_uri", "unix://" + options.xds_socket},
                         // A Unix socket, and the peer's uid is checked.
                         {"channel_creds", ordered_json::array({{{"type", "insecure"}}})},
                         {"server_features", {"xds_v3"}}};
  ordered_json out;
  out["xds_servers"] = ordered_json::array({std::move(server)});
  out["node"] = node_of(options);
  if (!options.credentials_folder.empty())
    out["certificate_providers"][kProvider] = provider(options.credentials_folder);
  out["server_listener_resource_name_template"] = "xds.istio.io/grpc/lds/inbound/%s";
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace hawser::bootstrap
