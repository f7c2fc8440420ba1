// SPDX-License-Identifier: Apache-2.0
#include "mesh_proxy.h"

#include <algorithm>
#include <utility>

#include "base/backoff.h"
#include "base/boot_id.h"
#include "base/file.h"
#include "base/log.h"
#include "bootstrap/own_listeners.h"
#include "proxy/parent_stand_in.h"
#include "proxy_node.h"

namespace hawser {

namespace {

Drain::Proxy drained_by(proxy::Supervisor& supervisor, proxy::EnvoyDriver& driver) {
  Drain::Proxy out;
  out.serving = [&supervisor]() -> std::optional<Drain::Proxy::Serving> {
    if (!supervisor.live()) return std::nullopt;
    const auto status = supervisor.status();
    return Drain::Proxy::Serving{status.generation, status.pid};
  };
  out.drain_inbound = [&driver](const std::string& generation, std::function<void(Status)> done) {
    driver.drain_inbound(generation, std::move(done));
  };
  out.connections = [&driver](const std::string& generation, auto done) {
    driver.connections(generation, std::move(done));
  };
  out.callers = [](std::set<std::uint16_t> ports) {
    ports.insert(kInboundPort);
    return proxy::observe_peers(ports);
  };
  out.expect_drained = [&supervisor](pid_t pid) { supervisor.expect_drained(pid); };
  out.restart = [&supervisor](proxy::HandOverKind kind, std::function<void(Status)> done) {
    proxy::HandOverRequest request;
    request.kind = kind;
    supervisor.restart(request, [done = std::move(done)](const Result<proxy::Supervisor::Restarted>& result) {
      done(result ? Status() : Status(result.error()));
    });
  };
  return out;
}

}  // namespace

MeshProxy::MeshProxy(Context context, const config::Config& config, const HostFacts& facts, Drain::Withhold withhold)
    : feed_(std::make_unique<RelayFeed>(context.relay, context.has_certificate)),
      history_(std::make_unique<proxy::History>(
          context.loop,
          proxy::History::Storage{&context.slow, context.state_dir + "/supervisor/history.json", boot_id()})) {
  history_->restore();
  proxy::AdminClient::Options admin_options;
  admin_options.folder = context.run_dir + "/proxy";
  admin_ = std::make_unique<proxy::AdminClient>(context.loop, admin_options);
  admin_options.suffix = bootstrap::kWorkerSocketSuffix;
  workers_ = std::make_unique<proxy::AdminClient>(context.loop, admin_options);
  proxy::EnvoyDriver::Options driver_options;
  driver_options.concurrency = config.proxy.concurrency;
  driver_options.drain = config.proxy.drain;
  driver_options.parent_shutdown = config.proxy.parent_shutdown;
  driver_options.log_level = config.proxy.log_level;
  driver_options.json_log = config.proxy.json_log;
  driver_options.data_path = proxy::http_data_probe(context.loop, kReadinessPort);
  driver_options.workers = workers_.get();
  driver_options.stand_in = [&loop = context.loop](const proxy::GenerationId& child) {
    return proxy::ParentStandIn::open(loop, child.base_id(), child.epoch);
  };
  driver_ = std::make_unique<proxy::EnvoyDriver>(*admin_, driver_options);
  questions_ = std::make_unique<ProxyQuestions>(context.loop, context.slow, *driver_);
  proxy::CounterKeeper::Options counter_options;
  counter_options.path = context.state_dir + "/supervisor/counters";
  counter_options.boot = boot_id();
  counters_ = std::make_unique<proxy::CounterKeeper>(context.loop, context.slow, *driver_, context.metrics,
                                                     std::move(counter_options));
  counters_->restore();
  host_ = std::make_unique<proxy::BrokerHost>(
      context.broker, [&relay = context.relay](const HostPermits& seen) { relay.permit(seen); });
  watcher_ = std::make_unique<proxy::PidfdWatcher>(context.loop);
  proxy::Supervisor::Options options;
  options.start_timeout = config.proxy.start_timeout;
  options.wedge_after = config.proxy.wedge_after;
  options.parent_shutdown = config.proxy.parent_shutdown;
  options.budget.probation = config.proxy.probation;
  options.unprepared = context.unprepared;
  options.concurrency = config.proxy.concurrency;
  options.seed = random_seed();
  options.history = history_.get();
  options.hand_over = proxy::hand_over_kind(config.proxy.hand_over);
  options.cold_allowed = config.proxy.auto_cold;
  options.canary = config.proxy.canary;
  options.drain = config.proxy.drain;
  options.counters = counters_.get();
  options.feed = feed_.get();
  options.hand_overs_per_hour = config.proxy.hand_overs_per_hour;
  options.bootstrap = [config, facts, run_dir = context.run_dir](const std::string& generation) {
    return proxy_bootstrap(config, facts, run_dir, generation);
  };
  supervisor_ = std::make_unique<proxy::Supervisor>(context.loop, *host_, *driver_, *watcher_, options, context.health,
                                                    context.metrics);
  drain_ = std::make_unique<Drain>(Drain::Context{context.loop, context.slow, context.health, context.metrics,
                                                  context.state_dir + "/supervisor/drain.json", boot_id(),
                                                  config.workload.withdraw_wait, config.proxy.drain},
                                   drained_by(*supervisor_, *driver_), std::move(withhold));
  drain_->start();
}

bool MeshProxy::listens(bool ipv6) const {
  const auto listeners = supervisor_->status().listeners;
  return std::any_of(listeners.begin(), listeners.end(), [ipv6](const proxy::Listener& listener) {
    const bool captured = listener.port == kOutboundPort || listener.port == kInboundPort;
    return captured && listener.bound && (listener.address.find(':') != std::string::npos) == ipv6;
  });
}

void MeshProxy::forget() {
  counters_->forget();
  history_->forget();
  drain_->forget();
}

void MeshProxy::forget(SlowWorker& slow, const std::string& state_dir) {
  slow.submit([state_dir] {
    for (const char* name : {"/counters", "/counters.damaged", "/history.json", "/history.json.damaged", "/drain.json"})
      if (auto removed = file::remove_durable(state_dir + "/supervisor" + name); !removed)
        log::warn(removed.error().to_string());
  });
}

}  // namespace hawser
