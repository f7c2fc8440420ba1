// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/health.h"
#include "base/metrics.h"
#include "base/result.h"
#include "config/config.h"
#include "status/endpoints.h"

namespace hawser::rpc {
class GrpcServer;
}
namespace hawser::sds {
class SdsServer;
}
namespace hawser::xds {
class Relay;
}

namespace hawser {

class Lifecycle;
class MeshProxy;

// What: what a joined host serves to itself: port 15020, xds.sock and sds.sock for the proxy's user alone, and, where
// it's configured, proxyless.sock for programs that speak xDS themselves.
// Threading: on the loop. Failure: a port or socket that's taken, a user that doesn't exist; nothing is left open.
Result<std::unique_ptr<status::HttpServer>> serve_status(AsioLoop& loop, Metrics& metrics, std::uint16_t port,
                                                         status::EndpointSources sources);
// What port 15020 tells of the host; both outlive the server, a proxy may come and go.
status::EndpointSources endpoint_sources(const Lifecycle& life, std::function<MeshProxy*()> proxy);
// The server of the proxy's secrets; those that the mesh's configuration names by file are read for it on `slow`.
std::unique_ptr<sds::SdsServer> make_sds(AsioLoop& loop, SlowWorker& slow, Metrics& metrics, HealthSink& health,
                                         const config::Config& config, const std::string& state_dir);
// What the relay's clients connect to.
struct LocalGrpc {
  std::unique_ptr<rpc::GrpcServer> proxy;
  std::unique_ptr<rpc::GrpcServer> programs;  // null: off
  LocalGrpc();
  ~LocalGrpc();
  void stop();
};
// The sockets come from systemd where it holds them. `sds` and `relay` outlive the servers. Programs get no secrets and
// no delta stream; that their socket can't be served is a health item ("proxyless") and no failure.
Result<std::unique_ptr<LocalGrpc>> serve_grpc(AsioLoop& loop, Metrics& metrics, HealthSink& health,
                                              const std::string& run_dir, const config::Config& config,
                                              sds::SdsServer& sds, xds::Relay& relay);

}  // namespace hawser
