// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bootstrap/node.h"

namespace hawser::bootstrap {

inline NodeOptions sample_node() {
  NodeOptions out;
  out.addresses = {"10.77.0.20", "fd77::20"};
  out.workload_name = "reviews-vm";
  out.ns = "bookinfo";
  out.service_account = "reviews-sa";
  out.cluster_id = "Kubernetes";
  out.mesh_id = "mesh1";
  out.network = "vm-net";
  out.group = "reviews-vm";
  out.locality = "europe-west1/b/rack7";
  out.hostname = "vm-1";
  out.discovery_address = "istiod.istio-system.svc:15012";
  out.labels = {{"app", "reviews"}, {"version", "v1"}};
  out.pod_ports = R"([{"name":"http","containerPort":9080,"protocol":"TCP"}])";
  out.readiness_probe = R"({"httpGet":{"path":"/health","port":9080},"periodSeconds":5})";
  out.extra = {{"DNS_CAPTURE", "true"}, {"MY_KEY", "carried"}, {"ISTIO_METAJSON_ANNOTATIONS", R"({"team":"blue"})"}};
  return out;
}

}  // namespace hawser::bootstrap
