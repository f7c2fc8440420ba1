// SPDX-License-Identifier: Apache-2.0
// The core's side of what the control plane tells the agent itself. It never reaches a proxy, and isn't cached.
#include <google/protobuf/any.pb.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include "base/log.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "xds/core.h"

namespace hawser::xds {
namespace {

constexpr std::size_t kMaxMessage = std::size_t{4} << 20;
constexpr std::size_t kMaxResource = std::size_t{1} << 20;
constexpr int kInternal = 13;  // as istio's agent says it

Error unusable(const std::string& why) {
  return {Code::kInvalidArgument, "HWS-TR-012", "the control plane's ProxyConfig is refused: " + why,
          "correct caCertificates of the mesh's configuration"};
}

// As istio's agent does it, only the first one counts.
Result<std::string> config_in(const Response& response) {
  const std::string& body = response.resources.front().body;
  envoy::service::discovery::v3::Resource resource;
  google::protobuf::Any any;
  if (body.size() > kMaxResource) return unusable("it is over 1 MiB");
  if (!resource.ParseFromString(body) || !any.ParseFromString(resource.resource()) ||
      any.type_url() != kProxyConfigType)
    return unusable("it isn't a ProxyConfig");
  return any.value();
}

}  // namespace

void Core::take_agent_message(const Envelope& envelope, const grpc::ByteBuffer& message) {
  Status taken = unusable("it is over 4 MiB");
  if (message.Length() <= kMaxMessage) {
    grpc::ByteBuffer copy = message;
    grpc::ProtoBufferReader reader(&copy);
    const auto response = parse_response(reader, envelope.resources);
    if (!response) return upstream_->fail(response.error());
    taken = Status();
    if (!response->resources.empty()) {
      const auto config = config_in(*response);
      taken = config ? options_.proxy_config(*config) : Status(config.error());
    } else if (!response->removed.empty()) {
      taken = options_.proxy_config(std::string());
    }
  }
  Counts& counts = counts_[envelope.type_url];
  count_response(envelope);
  std::optional<std::string> detail;
  if (taken) {
    ++counts.accepted;
    counts.accepted_at = strand_.wall();
  } else {
    ++counts.rejected;
    counts.rejected_at = strand_.wall();
    detail = make_error_detail(kInternal, taken.error().message());
    log::warn(taken.error().to_string());
  }
  hub_.answer_agent(envelope.type_url, envelope.nonce, detail);
  upstream_->read_next();
  pump();
  publish();
}

}  // namespace hawser::xds
