// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <map>
#include <string>
#include <vector>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/types.h"
#include "xds/wire.h"

// Messages as a peer makes and reads them: with the generated classes, so that they check our own scanner.
namespace hawser::xds::test {

using envoy::service::discovery::v3::DeltaDiscoveryResponse;

inline const std::string kClusters(kClusterType);
inline const std::string kEndpoints(kEndpointType);
inline const std::string kListeners(kListenerType);
inline const std::string kRoutes(kRouteType);

inline std::string plane_response(std::string_view type, const std::string& nonce,
                                  const std::map<std::string, std::string>& resources,
                                  const std::vector<std::string>& removed = {}, const std::string& version = {}) {
  DeltaDiscoveryResponse message;
  message.set_type_url(std::string(type));
  message.set_nonce(nonce);
  message.set_system_version_info("2026-01-01T00:00:00Z/1");
  for (const auto& [name, body] : resources) {
    auto& resource = *message.add_resources();
    resource.set_name(name);
    resource.set_resource(body);
    resource.set_version(version.empty() ? "" : version + body);
  }
  for (const auto& name : removed) message.add_removed_resources(name);
  return message.SerializeAsString();
}

inline Response parsed(const std::string& bytes) {
  google::protobuf::io::ArrayInputStream input(bytes.data(), static_cast<int>(bytes.size()));
  return parse_response(input).value();
}

inline DeltaDiscoveryResponse decoded(const std::string& bytes) {
  DeltaDiscoveryResponse message;
  if (!message.ParseFromString(bytes)) message.set_type_url("unparsable");
  return message;
}

inline std::vector<std::string> names_in(const DeltaDiscoveryResponse& message) {
  std::vector<std::string> out;
  for (const auto& resource : message.resources()) out.push_back(resource.name());
  return out;
}

inline std::vector<std::string> removed_in(const DeltaDiscoveryResponse& message) {
  return {message.removed_resources().begin(), message.removed_resources().end()};
}

inline Request subscribe(std::string_view type, std::vector<std::string> names = {}) {
  Request request;
  request.type_url = type;
  request.subscribe = std::move(names);
  return request;
}

inline Request unsubscribe(std::string_view type, std::vector<std::string> names) {
  Request request;
  request.type_url = type;
  request.unsubscribe = std::move(names);
  return request;
}

inline Request ack(std::string_view type, const std::string& nonce) {
  Request request;
  request.type_url = type;
  request.nonce = nonce;
  return request;
}

inline Request nack(std::string_view type, const std::string& nonce, const std::string& why) {
  Request request = ack(type, nonce);
  request.error_detail = make_error_detail(3, why);
  return request;
}

inline envoy::service::discovery::v3::DiscoveryRequest decoded_request(const std::string& bytes) {
  envoy::service::discovery::v3::DiscoveryRequest out;
  if (!out.ParseFromString(bytes)) out.set_type_url("unparsable");
  return out;
}

}  // namespace hawser::xds::test
