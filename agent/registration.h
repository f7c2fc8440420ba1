// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/asio_loop.h"
#include "base/health.h"
#include "base/metrics.h"
#include "config/config.h"
#include "host_facts.h"
#include "registration/host_health.h"
#include "registration/inbound_healer.h"
#include "registration/reporter.h"
#include "xds/relay.h"

namespace hawser {

// What: this host's place in the mesh's table of workloads: which address it is told, how its services are, what the
// control plane was told and what it answered, and the way out. Threading: on the loop. Failure: health items "address"
// (HWS-NF-008), "program" (HWS-RG-002 in its reason), "registration" (HWS-RG-001, and why the plane refuses:
// registration/refusal.h), "inbound".
class Registration {
 public:
  struct Context {
    AsioLoop& loop;
    Metrics& metrics;
    HealthSink& health;
    xds::Relay& relay;
  };
  struct Hooks {
    std::function<registration::ProbeIdentity()> identity;
    // The plane was told, and either sends what callers need or was given its time; comes again after each change.
    std::function<void()> registered;
  };

  // Both outlive it.
  Registration(Context context, const config::Config& config, const HostFacts& facts, Hooks hooks);

  // Probing begins; refusals are explained before.
  void start();
  // In force and verified, for these families.
  void intercepted(bool ipv4, bool ipv6);
  void not_intercepted(const std::string& reason);
  // While there's a reason, callers are sent elsewhere (drain.h); empty: taken back.
  void drain(const std::string& reason);
  void connected(bool connected);
  void failed(const Error& error);

  // Tells the plane to send no more traffic, goes on serving for `wait`, as callers take time to hear of it, then
  // calls.
  void withdraw(std::chrono::milliseconds wait, std::function<void()> done);
  void stop();

  // Where hawserd's own connections must go to the proxy's inbound port.
  static std::vector<config::HostPort> probes_through_proxy(const config::Config& config, const HostFacts& facts);
  nlohmann::json describe() const;

 private:
  bool captured(bool ipv4, bool ipv6);
  void told(bool healthy);

  Context context_;
  const config::Config& config_;
  const HostFacts& facts_;
  Hooks hooks_;
  registration::Reporter reporter_;
  registration::InboundHealer healer_;
  registration::HostHealth services_;
  std::optional<Error> refusal_;
  std::unique_ptr<Loop::Timer> timer_;
};

// How istiod names the entry of an auto-registered workload: GROUP-ADDRESS[-NETWORK], the last 253 characters of it.
std::string workload_entry_name(const config::Config& config, const HostFacts& facts);

}  // namespace hawser
