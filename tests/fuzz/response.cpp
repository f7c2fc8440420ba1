// SPDX-License-Identifier: Apache-2.0
// What the control plane sends: scanned by hand, so the generated parser is the reference.
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "targets.h"
#include "xds/hub.h"
#include "xds/wire.h"

namespace hawser::fuzz {
namespace {

using namespace xds;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;
using google::protobuf::io::ArrayInputStream;

// gRPC hands a message over in slices of any size.
struct Fragments {
  std::string_view bytes;
  int block;
  Result<Envelope> scan() const {
    ArrayInputStream input(bytes.data(), static_cast<int>(bytes.size()), block);
    return scan_envelope(input);
  }
  Result<Response> parse() const {
    ArrayInputStream input(bytes.data(), static_cast<int>(bytes.size()), block);
    return parse_response(input);
  }
};

bool same(const Response& left, const Response& right) {
  if (left.removed != right.removed || left.resources.size() != right.resources.size()) return false;
  for (std::size_t i = 0; i < left.resources.size(); ++i) {
    const ResourceBytes& a = left.resources[i];
    const ResourceBytes& b = right.resources[i];
    if (a.name != b.name || a.version != b.version || a.body != b.body || a.heartbeat != b.heartbeat) return false;
  }
  return true;
}

void compare(const Response& ours, const DeltaDiscoveryResponse& theirs) {
  require(ours.envelope.type_url == theirs.type_url(), "the type is the generated parser's");
  require(ours.envelope.nonce == theirs.nonce(), "the nonce is the generated parser's");
  require(ours.resources.size() == static_cast<std::size_t>(theirs.resources_size()), "so many resources");
  require(ours.removed.size() == static_cast<std::size_t>(theirs.removed_resources_size()), "so many removals");
  for (int i = 0; i < theirs.resources_size(); ++i) {
    const auto& mine = ours.resources[static_cast<std::size_t>(i)];
    auto reference = theirs.resources(i);
    require(mine.name == reference.name(), "a resource's name is the generated parser's");
    require(mine.version == reference.version(), "a resource's version is the generated parser's");
    require(!mine.heartbeat || reference.resource().empty(), "a heartbeat has no resource");
    envoy::service::discovery::v3::Resource rebuilt;
    require(rebuilt.ParseFromString(mine.body), "a body is a resource");
    reference.clear_version();
    require(rebuilt.SerializeAsString() == reference.SerializeAsString(), "a body is the resource without its version");
  }
}

// A proxy that wants everything of this type is served from the cache; what it gets is what came.
void serve(Response response) {
  if (!forwardable(response.envelope.type_url)) return;
  const std::string type = response.envelope.type_url;
  Hub hub({});
  hub.upstream_opened();
  hub.open(1, "f1e0", {});
  Request all;
  all.type_url = type;
  all.subscribe = {std::string(kWildcard)};
  (void)hub.on_request(1, all, {});
  while (hub.next_upstream()) {
  }
  const std::size_t sent = response.resources.size();
  hub.ingest(std::move(response), std::nullopt, {});
  require(hub.cache().size(type).resources <= sent, "the cache holds no more than was sent");
  for (std::size_t messages = 0; hub.next_for(1, {}); ++messages) require(messages <= sent + 1, "serving ends");
}

}  // namespace

void response(std::string_view input) {
  if (input.empty() || input.size() > (1 << 20)) return;
  // The first byte chooses how the rest is cut.
  const int block = 1 + static_cast<unsigned char>(input[0]) % 64;
  const std::string_view bytes = input.substr(1);
  const Fragments whole{bytes, -1};
  const Fragments cut{bytes, block};
  auto ours = whole.parse();
  const auto in_pieces = cut.parse();
  require(ours.has_value() == in_pieces.has_value(), "fragments change nothing about validity");
  const auto scanned = cut.scan();
  if (!ours) return;
  require(same(*ours, *in_pieces), "fragments change nothing about the content");
  require(scanned && scanned->type_url == ours->envelope.type_url && scanned->nonce == ours->envelope.nonce,
          "the scan sees the same envelope");
  DeltaDiscoveryResponse theirs;
  if (theirs.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) compare(*ours, theirs);
  serve(std::move(*ours));
}

}  // namespace hawser::fuzz
