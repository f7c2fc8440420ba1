// SPDX-License-Identifier: Apache-2.0
#include "ca_sources.h"

#include "certs/ca_istio.h"
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

}  // namespace

CaSource make_ca_source(const CaContext& context, const config::Config& config,
                        std::optional<dial::Selection::Proxy> proxy) {
  return make_istio(context, config, std::move(proxy));
}

}  // namespace hawser
