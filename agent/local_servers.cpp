// SPDX-License-Identifier: Apache-2.0
#include "local_servers.h"

#include <vector>

#include "base/unix_socket.h"
#include "config/load.h"
#include "rpc/grpc_server.h"
#include "sds/server.h"
#include "status/http_server.h"
#include "xds/relay.h"

namespace hawser {

Result<std::unique_ptr<status::HttpServer>> serve_status(AsioLoop& loop, Metrics& metrics, std::uint16_t port,
                                                         status::EndpointSources sources) {
  status::HttpServer::Options options;
  options.port = port;
  auto server = std::make_unique<status::HttpServer>(loop, options);
  status::add_endpoints(*server, metrics, std::move(sources));
  if (auto started = server->start(); !started) return started.error();
  return server;
}

Result<std::unique_ptr<rpc::GrpcServer>> serve_proxy(AsioLoop& loop, Metrics& metrics, const std::string& run_dir,
                                                     const std::string& proxy_user, sds::SdsServer& sds,
                                                     xds::Relay& relay) {
  auto proxy_uid = config::resolve_user(proxy_user);
  if (!proxy_uid) return proxy_uid.error();
  std::vector<rpc::GrpcServer::Endpoint> endpoints;
  for (const char* name : {"xds", "sds"}) {
    // Without systemd we can't give the file to Envoy's group; the peer's uid is checked in any case.
    auto socket = listen_unix(name, run_dir + "/" + name + ".sock", 0666);
    if (!socket) return socket.error();
    endpoints.push_back(rpc::GrpcServer::Endpoint{name, std::move(*socket), std::vector<uid_t>{*proxy_uid}});
  }
  auto server = std::make_unique<rpc::GrpcServer>(loop, metrics);
  if (auto started = server->start(std::move(endpoints), {sds.service()}, relay.service()); !started)
    return started.error();
  return server;
}

}  // namespace hawser
