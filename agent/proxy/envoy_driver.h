// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>

#include "proxy/admin_answers.h"
#include "proxy/admin_client.h"
#include "proxy/data_probe.h"
#include "proxy/driver.h"
#include "proxy/generation_name.h"
#include "proxy/listening_sockets.h"

namespace hawser::proxy {

// What: ProxyDriver for Envoy, over its admin interface. Envoy says LIVE once its workers run, which doesn't mean that
// it has listeners; and it goes on listing listeners whose sockets a drain has closed. So a probe asks /server_info,
// /ready and /listeners, and looks for each listener in the kernel too. Threading: on the loop. Failure: HWS-PX-001 (no
// answer), HWS-PX-002 (not understood), HWS-PX-041 (no worker answers).
class EnvoyDriver final : public ProxyDriver {
 public:
  struct Options {
    unsigned concurrency = 0;  // 0: a worker a core
    std::chrono::seconds drain{5};
    // What a predecessor's connections get in a hot restart, from LIVE on; then they are cut. Longer than the drain.
    std::chrono::seconds parent_shutdown{60};
    std::string log_level = "warning";
    bool json_log = true;
    std::vector<std::uint16_t> uncounted_ports{15021,
                                               15090};  // probes' and scrapers' connections don't hold a drain up
    std::function<Result<std::vector<ListeningEndpoint>>()> listening = observe_listening;
    std::function<Result<std::unique_ptr<StandIn>>(const GenerationId& child)> stand_in;  // none: not done
    DataProbe data_path;             // of a listener that every generation has; none: its data path is taken to be well
    AdminClient* workers = nullptr;  // of the listener that each has for itself (own_listeners.h); none: not asked
  };

  EnvoyDriver(AdminClient& admin, Options options);
  ~EnvoyDriver() override;

  Capabilities capabilities() const override;
  std::vector<std::string> args(unsigned workers) const override;
  void probe(const std::string& generation, Done<ProbeResult> done) override;
  void watch(const std::string& generation, Done<ProbeResult> done) override;
  void diagnose(const std::string& generation, std::function<void(std::string)> done) override;
  void inspect(const std::string& generation, Done<Inspection> done) override;
  void begin_drain(const std::string& generation, DrainKind kind, std::function<void(Status)> done) override;
  void count_connections(const std::string& generation, Done<std::uint64_t> done) override;
  void probe_data(const std::string& generation, std::function<void(Status)> done) override;
  void ask_worker(const std::string& generation, std::function<void(Status)> done) override;
  void scrape(const std::string& generation, Done<std::string> done) override;
  void flush_mark(const std::string& generation, Done<std::uint64_t> done) override;
  std::unique_ptr<StandIn> stand_in(const std::string& generation) override;
  std::vector<Listener> listening(const std::vector<std::uint16_t>& ports) const override;
  // Any question of the admin interface that changes nothing: a path with its query.
  void ask(const std::string& generation, const std::string& target, AdminClient::Done done);
  // Inbound listeners only: callers are asked to go, and for the drain time new ones are still taken; then the
  // listeners close, for as long as this generation lives.
  void drain_inbound(const std::string& generation, std::function<void(Status)> done);
  void connections(const std::string& generation, Done<std::vector<ListenerConnections>> done);
  // The certificates that Envoy presents now: the proof that a rotation has reached it.
  void certificates(const std::string& generation, Done<std::vector<CertificateInUse>> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::proxy
