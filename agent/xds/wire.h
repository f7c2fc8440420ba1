// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace google::protobuf::io {
class ZeroCopyInputStream;
}

// What: the envelopes of delta xDS (envoy/service/discovery/v3/discovery.proto). Responses are scanned by hand, because
// their resources are the bulk and stay bytes; requests are small and use the generated message.
// Threading: pure functions. Failure: HWS-XDS-011, bytes that aren't such a message.
namespace hawser::xds {

struct Request {
  std::string type_url;
  std::vector<std::string> subscribe;
  std::vector<std::string> unsubscribe;
  std::map<std::string, std::string> initial_versions;
  std::string nonce;
  std::optional<std::string> error_detail;  // google.rpc.Status, serialised: forwarded as it came
  std::string node;                         // envoy.config.core.v3.Node, serialised
};

Result<Request> parse_request(std::string_view bytes);
std::string build_request(const Request& request);
std::string make_error_detail(int code, const std::string& message);
std::string error_message(const std::string& error_detail);

// The node as far as it isn't the proxy's own addition (user agent, extensions, features), in a canonical form, so that
// two nodes can be compared. Nullopt: not a node.
std::optional<std::string> node_identity(const std::string& node);

struct Envelope {
  std::string type_url;
  std::string nonce;
  std::string system_version;
  std::size_t resources = 0;  // how many
};

// One resource as the plane sent it, apart from its version: `body` is the serialised Resource without field 1, so that
// aliases, TTLs and fields that we don't know survive.
struct ResourceBytes {
  std::string name;
  std::string version;
  std::string body;
  // A Resource without the resource itself only renews a TTL: it says nothing about the content.
  bool heartbeat = false;
};

struct Response {
  Envelope envelope;
  std::vector<ResourceBytes> resources;
  std::vector<std::string> removed;
};

// Skips over the resources: cheap enough to precede forwarding.
Result<Envelope> scan_envelope(google::protobuf::io::ZeroCopyInputStream& input);
// `resources`: how many there will be, if that is known.
Result<Response> parse_response(google::protobuf::io::ZeroCopyInputStream& input, std::size_t resources = 0);

// Builds one DeltaDiscoveryResponse of our own.
class ResponseBuilder {
 public:
  explicit ResponseBuilder(std::string_view type_url);
  void add(std::string_view version, std::string_view body);
  void remove(std::string_view name);
  std::size_t size() const { return bytes_.size(); }
  std::string finish(std::string_view nonce);

 private:
  std::string bytes_;
};

}  // namespace hawser::xds
