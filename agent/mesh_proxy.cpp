// SPDX-License-Identifier: Apache-2.0
#include "mesh_proxy.h"

#include <utility>

#include "base/backoff.h"
#include "proxy/parent_stand_in.h"
#include "proxy_node.h"

namespace hawser {

MeshProxy::MeshProxy(Context context, const config::Config& config, const HostFacts& facts)
    : history_(std::make_unique<proxy::History>(context.loop)) {
  proxy::AdminClient::Options admin_options;
  admin_options.folder = context.run_dir + "/proxy";
  admin_ = std::make_unique<proxy::AdminClient>(context.loop, admin_options);
  proxy::EnvoyDriver::Options driver_options;
  driver_options.concurrency = config.proxy.concurrency;
  driver_options.drain = config.proxy.drain;
  driver_options.parent_shutdown = config.proxy.parent_shutdown;
  driver_options.data_path = proxy::http_data_probe(context.loop, 15021);
  driver_options.stand_in = [&loop = context.loop](const proxy::GenerationId& child) {
    return proxy::ParentStandIn::open(loop, child.base_id(), child.epoch);
  };
  driver_ = std::make_unique<proxy::EnvoyDriver>(*admin_, driver_options);
  host_ = std::make_unique<proxy::BrokerHost>(context.broker);
  watcher_ = std::make_unique<proxy::PidfdWatcher>(context.loop);
  proxy::Supervisor::Options options;
  options.start_timeout = config.proxy.start_timeout;
  options.wedge_after = config.proxy.wedge_after;
  options.parent_shutdown = config.proxy.parent_shutdown;
  options.budget.probation = config.proxy.probation;
  options.concurrency = config.proxy.concurrency;
  options.seed = random_seed();
  options.history = history_.get();
  options.bootstrap = [config, facts, run_dir = context.run_dir](const std::string& generation) {
    return proxy_bootstrap(config, facts, run_dir, generation);
  };
  supervisor_ = std::make_unique<proxy::Supervisor>(context.loop, *host_, *driver_, *watcher_, options, context.health,
                                                    context.metrics);
}

}  // namespace hawser
