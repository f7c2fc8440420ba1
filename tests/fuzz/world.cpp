// SPDX-License-Identifier: Apache-2.0
// State-of-the-world requests of programs on the host, which reach the plane with the host's node.
#include "envoy/config/core/v3/base.pb.h"
#include "targets.h"
#include "xds/sotw_wire.h"

namespace hawser::fuzz {

void world(std::string_view bytes) {
  using namespace xds;
  const auto head = scan_sotw_request(bytes);
  if (!head) return;
  envoy::config::core::v3::Node host;
  host.set_id("sidecar~10.0.0.1~vm.demo~demo.svc.cluster.local");
  host.set_cluster("vm.demo");
  (*host.mutable_metadata()->mutable_fields())["CLUSTER_ID"].set_string_value("c");
  const std::string node = node_for_client(host.SerializeAsString(), head->node);
  envoy::config::core::v3::Node shown;
  require(shown.ParseFromString(node), "the node that is shown is one");
  require(shown.id() == host.id() && shown.cluster() == host.cluster(), "it's the host that asks");
  require(shown.metadata().fields().at("CLUSTER_ID").string_value() == "c", "nobody claims another cluster");
  const std::string passed = with_node(bytes, node);
  const auto again = scan_sotw_request(passed);
  require(again && again->type_url == head->type_url && again->node == node, "only the node is replaced");
}

}  // namespace hawser::fuzz
