// SPDX-License-Identifier: Apache-2.0
#include "mesh_proxy.h"

#include <utility>

#include "base/backoff.h"
#include "base/boot_id.h"
#include "base/file.h"
#include "base/log.h"
#include "proxy_node.h"

namespace hawser {

MeshProxy::MeshProxy(Context context, const config::Config& config, const HostFacts& facts)
    : history_(std::make_unique<proxy::History>(
          context.loop,
          proxy::History::Storage{&context.slow, context.state_dir + "/supervisor/history.json", boot_id()})) {
  history_->restore();
  proxy::AdminClient::Options admin_options;
  admin_options.folder = context.run_dir + "/proxy";
  admin_ = std::make_unique<proxy::AdminClient>(context.loop, admin_options);
  proxy::EnvoyDriver::Options driver_options;
  driver_options.concurrency = config.proxy.concurrency;
  driver_options.drain = config.proxy.drain;
  driver_options.parent_shutdown = config.proxy.parent_shutdown;
  driver_options.log_level = config.proxy.log_level;
  driver_options.json_log = config.proxy.json_log;
  driver_ = std::make_unique<proxy::EnvoyDriver>(*admin_, driver_options);
  questions_ = std::make_unique<ProxyQuestions>(context.loop, *driver_);
  proxy::CounterKeeper::Options counter_options;
  counter_options.path = context.state_dir + "/supervisor/counters";
  counter_options.boot = boot_id();
  counters_ = std::make_unique<proxy::CounterKeeper>(context.loop, context.slow, *driver_, context.metrics,
                                                     std::move(counter_options));
  counters_->restore();
  host_ = std::make_unique<proxy::BrokerHost>(context.broker);
  watcher_ = std::make_unique<proxy::PidfdWatcher>(context.loop);
  proxy::Supervisor::Options options;
  options.start_timeout = config.proxy.start_timeout;
  options.concurrency = config.proxy.concurrency;
  options.seed = random_seed();
  options.history = history_.get();
  options.predecessor_stays = config.proxy.parent_shutdown;
  options.counters = counters_.get();
  options.bootstrap = [config, facts, run_dir = context.run_dir](const std::string& generation) {
    return proxy_bootstrap(config, facts, run_dir, generation);
  };
  supervisor_ = std::make_unique<proxy::Supervisor>(context.loop, *host_, *driver_, *watcher_, options, context.health,
                                                    context.metrics);
}

void MeshProxy::forget() {
  counters_->forget();
  history_->forget();
}

void MeshProxy::forget(SlowWorker& slow, const std::string& state_dir) {
  slow.submit([state_dir] {
    for (const char* name : {"/counters", "/counters.damaged", "/history.json", "/history.json.damaged"})
      if (auto removed = file::remove_durable(state_dir + "/supervisor" + name); !removed)
        log::warn(removed.error().to_string());
  });
}

}  // namespace hawser
