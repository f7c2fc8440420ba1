// SPDX-License-Identifier: Apache-2.0
#include "ca_sources.h"

#include "base/backoff.h"
#include "certs/ca_files.h"
#include "certs/ca_istio.h"
#include "certs/ca_spiffe.h"
#include "dialling.h"

namespace hawser {
namespace {

CaSource make_istio(const CaContext& context, const config::Config& config,
                    std::optional<dial::Selection::Proxy> proxy) {
  CaSource out;
  out.dialler = make_ca_dialler(context.loop, context.slow, config, std::move(proxy));
  certs::IstioCa::Options options;
  options.dialler = out.dialler.get();
  options.server_name = config.ca_server_name();
  options.roots_pem = config.ca_root();
  if (context.server_roots)
    options.roots = [ask = context.server_roots, pinned = config.ca_root()] { return ask(pinned); };
  options.cluster_id = config.mesh.cluster_id;
  out.client = std::make_unique<certs::IstioCa>(context.loop, context.slow, context.metrics, options);
  return out;
}

certs::ExpectedId expected_id(const config::Config& config) {
  return {config.spiffe_id(), config.trust.domain_aliases};
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

CaSource make_ca_source(const CaContext& context, const config::Config& config,
                        std::optional<dial::Selection::Proxy> proxy) {
  switch (config.ca.type) {
    case config::CaSettings::Type::kSpiffe:
      return make_spiffe(context, config);
    case config::CaSettings::Type::kFiles:
      return make_files(context, config);
    default:
      return make_istio(context, config, std::move(proxy));
  }
}

}  // namespace hawser
