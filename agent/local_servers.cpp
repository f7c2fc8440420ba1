// SPDX-License-Identifier: Apache-2.0
#include "local_servers.h"

#include <vector>

#include "base/unix_socket.h"
#include "config/load.h"
#include "lifecycle.h"
#include "mesh_proxy.h"
#include "rpc/grpc_server.h"
#include "sds/file_secrets.h"
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

status::EndpointSources endpoint_sources(const Lifecycle& life, std::function<MeshProxy*()> proxy) {
  status::EndpointSources out;
  out.not_ready = [&life, proxy]() -> std::string {
    if (const MeshProxy* now = proxy(); now != nullptr && !now->drain().reason().empty()) return now->drain().reason();
    if (life.reached(Event::kIntercepting)) return {};
    const auto last = life.last();
    return "reached " + (last ? std::string(event_name(*last)) : "nothing");
  };
  out.proxy_stats = [proxy = std::move(proxy)](std::function<void(Result<std::string>)> done) {
    if (MeshProxy* now = proxy(); now != nullptr) return now->supervisor().scrape(std::move(done));
    done(Error(Code::kUnavailable, "HWS-MB-002", "no proxy runs"));
  };
  return out;
}

std::unique_ptr<sds::SdsServer> make_sds(AsioLoop& loop, SlowWorker& slow, Metrics& metrics, HealthSink& health,
                                         const config::Config& config, const std::string& state_dir) {
  sds::SdsServer::Options options;
  options.provider = {config.sds.provider.name, config.sds.provider.poll_delay, config.sds.provider.fallback};
  options.health = &health;
  auto server = std::make_unique<sds::SdsServer>(loop, metrics, options);
  sds::FileSecrets::Options files;
  files.access = {config.sds.files, {state_dir}};
  server->serve_files(std::make_unique<sds::FileSecrets>(loop, slow, health, files));
  return server;
}

namespace {

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

// Any user may open the file; who gets further is decided by the peer's uid and groups.
Result<std::unique_ptr<rpc::GrpcServer>> serve_programs(AsioLoop& loop, Metrics& metrics, const std::string& path,
                                                        const config::Proxyless& settings, xds::Relay& relay) {
  rpc::GrpcServer::Endpoint endpoint{"proxyless", {}, {}};
  for (const auto& user : settings.users) {
    auto uid = config::resolve_user(user);
    if (!uid) return uid.error();
    endpoint.allowed.push_back(*uid);
  }
  if (!settings.group.empty()) {
    auto gid = config::resolve_group(settings.group);
    if (!gid) return gid.error();
    endpoint.allowed_groups.push_back(*gid);
  }
  auto socket = listen_unix("proxyless", path, 0666);
  if (!socket) return socket.error();
  endpoint.socket = std::move(*socket);
  std::vector<rpc::GrpcServer::Endpoint> endpoints;
  endpoints.push_back(std::move(endpoint));
  auto server = std::make_unique<rpc::GrpcServer>(loop, metrics);
  if (auto started = server->start(std::move(endpoints), {}, relay.program_service()); !started) return started.error();
  return server;
}

}  // namespace

LocalGrpc::LocalGrpc() = default;
LocalGrpc::~LocalGrpc() = default;

void LocalGrpc::stop() {
  if (programs) programs->stop();
  if (proxy) proxy->stop();
}

Result<std::unique_ptr<LocalGrpc>> serve_grpc(AsioLoop& loop, Metrics& metrics, HealthSink& health,
                                              const std::string& run_dir, const config::Config& config,
                                              sds::SdsServer& sds, xds::Relay& relay) {
  auto out = std::make_unique<LocalGrpc>();
  auto proxy = serve_proxy(loop, metrics, run_dir, config.users.proxy, sds, relay);
  if (!proxy) return proxy.error();
  out->proxy = std::move(*proxy);
  if (!config.proxyless.enabled) return out;
  const std::string path = run_dir + "/proxyless.sock";
  auto programs = serve_programs(loop, metrics, path, config.proxyless, relay);
  if (programs) {
    out->programs = std::move(*programs);
    health.report("proxyless", HealthState::kOk, "programs may connect to " + path, nullptr);
  } else {
    health.report("proxyless", HealthState::kDegraded, programs.error().message(), &programs.error());
  }
  return out;
}

}  // namespace hawser
