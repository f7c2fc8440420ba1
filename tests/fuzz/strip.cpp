// SPDX-License-Identifier: Apache-2.0
// Istio's own extensions are taken out of bytes that a plane sent: whatever those are, the rest of them stays.
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "targets.h"
#include "xds/istio_strip.h"

namespace hawser::fuzz {
namespace {

using namespace xds;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;
using Strip = std::optional<std::string> (*)(std::string_view, const IstioExtensionSet&, IstioFindings&);

void check_rest(std::string_view before, const std::string& after) {
  DeltaDiscoveryResponse was;
  if (!was.ParseFromArray(before.data(), static_cast<int>(before.size()))) return;
  DeltaDiscoveryResponse is;
  require(is.ParseFromString(after), "what was a response stays one");
  require(is.type_url() == was.type_url() && is.nonce() == was.nonce(), "the envelope stays");
  require(is.resources_size() == was.resources_size(), "resources stay");
  require(is.removed_resources_size() == was.removed_resources_size(), "removals stay");
  for (int i = 0; i < is.resources_size(); ++i)
    require(
        is.resources(i).name() == was.resources(i).name() && is.resources(i).version() == was.resources(i).version(),
        "a resource keeps its name and version");
}

}  // namespace

void strip(std::string_view input) {
  // What the proxy lacks, and what the rest is: a delta response, one of the world, a resource.
  if (input.size() < 2 || input.size() > (1 << 20)) return;
  const IstioExtensionSet lacking(static_cast<unsigned char>(input[0]));
  constexpr Strip kStrips[] = {strip_delta_response, strip_sotw_response, strip_resource};
  const std::size_t which = static_cast<unsigned char>(input[1]) % 3;
  const std::string_view bytes = input.substr(2);
  IstioFindings found;
  const auto stripped = kStrips[which](bytes, lacking, found);
  if (!stripped) return;
  require(found.any(), "what is changed is counted");
  require((found.extensions() & ~lacking).none(), "what the proxy has stays");
  require(stripped->size() < bytes.size(), "nothing is added");
  IstioFindings again;
  require(!kStrips[which](*stripped, lacking, again), "what was taken out is out");
  if (which == 0) check_rest(bytes, *stripped);
}

}  // namespace hawser::fuzz
