// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/asio_loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "config/config.h"
#include "lifecycle.h"
#include "status/health_items.h"

namespace hawser::xds {
class Relay;
}

namespace hawser {

class HostIdentity;
class Interception;
class MeshProxy;
class Trust;
struct HostFacts;

// What: everything that exists only while the host is joined: identity, relay, proxy, interception, registration; and
// the order in which they start (start_*, one after the other, each leading to its event in lifecycle.h). leave() walks
// it backwards; stop() only lets go, so that a restarted hawserd finds the proxy and the rules at work. Threading: on
// the loop. Failure: start() fails if another hawserd holds the state; each later step reports its cause and fix as a
// health item and is tried again with back-off.
class Membership {
 public:
  struct Context {
    AsioLoop& loop;
    SlowWorker& slow;
    Metrics& metrics;
    HealthSink& health;
    Lifecycle& lifecycle;
    std::string run_dir;
    std::string state_dir;
  };

  Membership(Context context, config::Config config);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // A token comes with a join; none with a restart.
  Status start(const std::string& token, bool joining);
  void leave(std::chrono::seconds drain, std::function<void(Status)> done);
  void stop(std::function<void()> done);
  // The machine goes down: the plane is told, callers get a moment to hear of it, the proxy drains and is stopped; then
  // as stop(). Takes no longer than shutdown_bound() and what stop() takes.
  void shut_down(std::function<void()> done);
  std::chrono::seconds shutdown_bound() const;

  void renew(std::function<void(Status)> done);
  // With a new token, which is stored first.
  void prove(const std::string& token, std::function<void(Status)> done);
  // None before the proxy's turn has come, and none while leaving.
  MeshProxy* proxy() const;
  Interception* interception() const;
  const HostFacts& facts() const;
  // From start() on.
  Trust& trust() const;
  HostIdentity& identity() const;
  // None while leaving.
  xds::Relay* relay() const;
  // For `hawser xds bootstrap --grpc`.
  Result<std::string> program_bootstrap() const;
  void observe_interception(std::function<void(Result<nlohmann::json>)> done);
  // The parts of `hawser status --json` that a joined host adds.
  void describe(nlohmann::json& status) const;
  Result<nlohmann::json> certificate() const;
  Result<nlohmann::json> xds_status() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser
