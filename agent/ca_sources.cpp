// SPDX-License-Identifier: Apache-2.0
#include "ca_sources.h"

#include "base/backoff.h"
#include "certs/ca_citadel.h"
#include "certs/ca_exec.h"
#include "certs/ca_files.h"
#include "certs/ca_grpc.h"
#include "certs/ca_istio.h"
#include "certs/ca_meshca.h"
#include "certs/ca_spiffe.h"
#include "dialling.h"

namespace hawser {
namespace {

using Type = config::CaSettings::Type;

bool uses_system_roots(const config::Config& config) {
  return config.ca_root() == "system";
}

certs::KnownRoots known_roots(const config::Config& config) {
  return {uses_system_roots(config) ? std::string() : config.ca_root(), uses_system_roots(config)};
}

std::unique_ptr<certs::CaProtocol> make_protocol(const config::Config& config) {
  if (config.ca.type == Type::kMeshCa) return certs::make_meshca_protocol({config.ca.location});
  if (config.ca.type != Type::kCitadel)
    return certs::make_istio_protocol({config.mesh.cluster_id, config.ca.cert_signer});
  return certs::make_citadel_protocol({config.mesh.cluster_id, [roots = known_roots(config)] { return roots; }});
}

CaSource make_grpc(const CaContext& context, const config::Config& config,
                   std::optional<dial::Selection::Proxy> proxy) {
  CaSource out;
  out.dialler = make_ca_dialler(context.loop, context.slow, config, std::move(proxy));
  certs::GrpcCa::Options options;
  options.dialler = out.dialler.get();
  options.server_name = config.ca_server_name();
  options.roots = [ask = context.server_roots, pinned = config.ca_root()] { return ask ? ask(pinned) : pinned; };
  options.system_roots = uses_system_roots(config);
  options.headers = config.ca.headers;
  options.deadline = config.ca.timeout;
  out.client = std::make_unique<certs::GrpcCa>(context.loop, context.slow, context.metrics, make_protocol(config),
                                               std::move(options));
  return out;
}

CaSource make_exec(const CaContext& context, const config::Config& config) {
  certs::ExecCa::Options options;
  options.command = config.ca.command;
  options.environment = {{"HAWSER_CLUSTER_ID", config.mesh.cluster_id},
                         {"HAWSER_TRUST_DOMAIN", config.mesh.trust_domain},
                         {"HAWSER_NAMESPACE", config.mesh.ns},
                         {"HAWSER_SERVICE_ACCOUNT", config.workload.service_account}};
  options.timeout = config.ca.timeout;
  options.roots = [roots = known_roots(config)] { return roots; };
  CaSource out;
  out.client = std::make_unique<certs::ExecCa>(context.loop, std::move(options));
  return out;
}

CaSource make_spiffe(const CaContext& context, const config::Config& config) {
  certs::SpiffeCa::Options options;
  // unix:///path and unix:/path are the same.
  options.socket_path = config.ca.socket.substr(config.ca.socket.find_first_not_of('/', sizeof "unix:" - 1) - 1);
  options.expected = expected_id(config);
  options.timeout = config.ca.timeout;
  options.seed = random_seed();
  return {nullptr, std::make_unique<certs::SpiffeCa>(context.loop, context.metrics, options)};
}

CaSource make_files(const CaContext& context, const config::Config& config) {
  static_assert(static_cast<int>(config::CaSettings::Layout::kHawser) == static_cast<int>(certs::PemLayout::kHawser));
  certs::FilesCa::Options options;
  options.folder = config.ca.folder;
  options.layout = static_cast<certs::PemLayout>(config.ca.layout);
  options.expected = expected_id(config);
  return {nullptr, std::make_unique<certs::FilesCa>(context.loop, context.slow, context.metrics, options)};
}

}  // namespace

certs::ExpectedId expected_id(const config::Config& config) {
  return {config.spiffe_id(), config.trust.domain_aliases};
}

CaSource make_ca_source(const CaContext& context, const config::Config& config,
                        std::optional<dial::Selection::Proxy> proxy) {
  switch (config.ca.type) {
    case Type::kExec:
      return make_exec(context, config);
    case Type::kSpiffe:
      return make_spiffe(context, config);
    case Type::kFiles:
      return make_files(context, config);
    default:
      return make_grpc(context, config, std::move(proxy));
  }
}

}  // namespace hawser
