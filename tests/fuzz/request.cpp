// SPDX-License-Identifier: Apache-2.0
// What a proxy sends, as the relay takes it: several requests on one stream, beside a cache that holds something.
#include <google/protobuf/stubs/logging.h>

#include <algorithm>

#include "targets.h"
#include "xds/hub.h"
#include "xds/wire.h"

namespace hawser::fuzz {
namespace {

using namespace xds;

constexpr int kMaxRequests = 32;

Response clusters() {
  Response response;
  response.envelope.type_url = std::string(kClusterType);
  response.envelope.nonce = "p1";
  for (const char* name : {"a", "b"}) {
    ResourceBytes resource;
    resource.name = name;
    resource.body = std::string("\x1a\x01") + name;
    response.resources.push_back(std::move(resource));
  }
  return response;
}

void check_round_trip(const Request& request) {
  const auto again = parse_request(build_request(request));
  require(again.has_value(), "a request that we build is one");
  require(again->type_url == request.type_url && again->subscribe == request.subscribe &&
              again->unsubscribe == request.unsubscribe && again->initial_versions == request.initial_versions &&
              again->nonce == request.nonce && again->error_detail.has_value() == request.error_detail.has_value(),
          "a request is rebuilt as it was");
  if (request.error_detail) (void)error_message(*request.error_detail);
  if (!request.node.empty()) require(node_identity(request.node).has_value(), "a request's node is a node");
}

void play(Hub& hub, const Request& request) {
  (void)hub.on_request(1, request, {});
  for (int i = 0; hub.next_upstream(); ++i) require(i < 64, "the plane is asked a bounded number of things");
  for (int i = 0; hub.next_for(1, {}); ++i) require(i < 64, "the proxy is sent a bounded number of messages");
}

}  // namespace

void silence_libraries() {
  google::protobuf::SetLogHandler(nullptr);
}

// Requests, each after its length in two bytes.
void request(std::string_view bytes) {
  Hub hub({std::string(kClusterType)});
  hub.upstream_opened();
  hub.open(1, "f1e0", {});
  hub.ingest(clusters(), std::nullopt, {});
  for (int i = 0; i < kMaxRequests && bytes.size() >= 2; ++i) {
    const std::size_t length = static_cast<unsigned char>(bytes[0]) + 256U * static_cast<unsigned char>(bytes[1]);
    const std::string_view one = bytes.substr(2, length);
    bytes.remove_prefix(std::min(bytes.size(), 2 + length));
    const auto request = parse_request(one);
    if (!request) continue;
    check_round_trip(*request);
    play(hub, *request);
  }
  hub.close(1, {});
  hub.open(2, "f1e0", {});
  hub.on_time(Loop::Monotonic{} + 2 * Hub::kLinger);
  for (int i = 0; hub.next_upstream(); ++i)
    require(i < 64, "what nobody wants is given up in a bounded number of steps");
}

}  // namespace hawser::fuzz
