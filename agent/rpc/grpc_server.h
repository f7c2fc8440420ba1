// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/asio_loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "base/unix_socket.h"

namespace grpc {
class Service;
class CallbackGenericService;
}  // namespace grpc

namespace hawser::rpc {

// What: the gRPC server behind xds.sock and sds.sock. We accept ourselves and hand the descriptor to gRPC
// (AddExternalConnectionAcceptor): gRPC's own unix: listener steals a live path and shows no peer. Each endpoint has a
// list of uids, and of groups, that may connect (SO_PEERCRED, SO_PEERGROUPS); others are closed and counted.
// Threading: on the loop; gRPC calls the services on its own threads. Failure: HWS-RPC-005 when gRPC doesn't start.
// Metrics: hawser_rpc_connections_total{socket}, hawser_rpc_refused_total{socket}.
class GrpcServer {
 public:
  struct Endpoint {
    std::string name;
    ListeningSocket socket;
    std::vector<uid_t> allowed;
    std::vector<gid_t> allowed_groups = {};
  };

  GrpcServer(AsioLoop& loop, Metrics& metrics);
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // Services must outlive the server.
  Status start(std::vector<Endpoint> endpoints, const std::vector<grpc::Service*>& services,
               grpc::CallbackGenericService* generic);
  // Cancels what is open, bounded by a second, and removes the socket files that we bound.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hawser::rpc
