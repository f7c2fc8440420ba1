// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

// What: as much of state-of-the-world requests (envoy/service/discovery/v3/discovery.proto, DiscoveryRequest) as
// passing them through needs; responses have their type URL where delta's have it (wire.h, scan_envelope). Threading:
// pure functions. Failure: HWS-XDS-030, bytes that aren't such a request.
namespace hawser::xds {

struct SotwHead {
  std::string type_url;
  std::string node;  // envoy.config.core.v3.Node, serialised; empty: none
};
Result<SotwHead> scan_sotw_request(std::string_view request);

// The same request with this node in place of its own; every other byte stays.
std::string with_node(std::string_view request, const std::string& node);

// The node that a passed-through stream shows to the plane: the host's identity (id, cluster, locality, and each key of
// its metadata) over what the client says of itself (GENERATOR, user agent, features). Without AUTO_REGISTER_GROUP: the
// host is registered by its own stream and by no other.
std::string node_for_client(const std::string& host_node, const std::string& client_node);

}  // namespace hawser::xds
