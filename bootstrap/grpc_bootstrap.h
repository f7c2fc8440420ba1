// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "bootstrap/node.h"

// What: the xDS bootstrap of a gRPC program without a proxy (GRPC_XDS_BOOTSTRAP), as JSON text: the relay's socket, the
// host's node with GENERATOR=grpc, by which istiod makes configuration for gRPC, and istiod's template for the
// listeners of gRPC servers (istio pkg/istio-agent/grpcxds). Pure. Failure: none.
namespace hawser::bootstrap {

struct GrpcOptions {
  NodeOptions node;
  std::string xds_socket;  // absolute
  // Folder with certificates.pem, private_key.pem and ca_certificates.pem; empty: no mTLS by the program itself.
  std::string credentials_folder;
};

std::string grpc_bootstrap(const GrpcOptions& options);

}  // namespace hawser::bootstrap
