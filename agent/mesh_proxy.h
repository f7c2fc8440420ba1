// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/health.h"
#include "base/metrics.h"
#include "broker/client.h"
#include "config/config.h"
#include "drain.h"
#include "host_facts.h"
#include "proxy/admin_client.h"
#include "proxy/broker_host.h"
#include "proxy/counter_keeper.h"
#include "proxy/envoy_driver.h"
#include "proxy/history.h"
#include "proxy/supervisor.h"
#include "proxy_view.h"
#include "relay_feed.h"

namespace hawser {

inline constexpr std::uint16_t kOutboundPort = 15001, kInboundPort = 15006, kReadinessPort = 15021;

// What: the proxy of a joined host with all that supervises it, composed from the configuration. Threading: on the
// loop. Failure: the supervisor's.
class MeshProxy {
 public:
  struct Context {
    AsioLoop& loop;
    SlowWorker& slow;
    broker::BrokerClient& broker;
    xds::Relay& relay;                      // outlives the proxy
    std::function<bool()> has_certificate;  // to give to a new one
    HealthSink& health;
    Metrics& metrics;
    std::string run_dir;
    std::string state_dir;
    std::function<std::string()> unprepared;  // see proxy::Supervisor::Options
  };

  MeshProxy(Context context, const config::Config& config, const HostFacts& facts, Drain::Withhold withhold);

  // Is a listener for captured traffic bound in this family?
  bool listens(bool ipv6) const;
  proxy::Supervisor& supervisor() { return *supervisor_; }
  const proxy::Supervisor& supervisor() const { return *supervisor_; }
  proxy::EnvoyDriver& driver() { return *driver_; }
  ProxyQuestions& questions() { return *questions_; }
  proxy::History& history() { return *history_; }
  Drain& drain() { return *drain_; }
  const Drain& drain() const { return *drain_; }
  // The host leaves: what was kept of the proxy on disk goes, too.
  void forget();
  // The same where there's no proxy yet.
  static void forget(SlowWorker& slow, const std::string& state_dir);

 private:
  // In order of construction; destroyed backwards.
  std::unique_ptr<RelayFeed> feed_;
  std::unique_ptr<proxy::History> history_;
  std::unique_ptr<proxy::AdminClient> admin_;
  std::unique_ptr<proxy::AdminClient> workers_;
  std::unique_ptr<proxy::EnvoyDriver> driver_;
  std::unique_ptr<ProxyQuestions> questions_;
  std::unique_ptr<proxy::CounterKeeper> counters_;
  std::unique_ptr<proxy::BrokerHost> host_;
  std::unique_ptr<proxy::PidfdWatcher> watcher_;
  std::unique_ptr<proxy::Supervisor> supervisor_;
  std::unique_ptr<Drain> drain_;
};

}  // namespace hawser
