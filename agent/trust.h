// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/asio_loop.h"
#include "base/health.h"
#include "base/metrics.h"
#include "base/result.h"
#include "certs/identity.h"
#include "config/config.h"

namespace hawser {

// What: whom this host trusts, put together: the roots of the CA's answer, of files and of the control plane
// (certs/trust_bundle.h) and the revocation lists (certs/crl.h); what is read is watched. Threading: on the loop; files
// are read and written on the slow worker. Failure: the health item "trust" (HWS-TR-NNN); what was in force stays so.
// Durability: what an overlap or an operator's word needs is in identity/trust.json soon after it changed.
// Metrics: hawser_trust_roots{state}, hawser_trust_crl_next_update_timestamp_seconds.
class Trust {
 public:
  struct Context {
    AsioLoop& loop;
    SlowWorker& slow;
    Metrics& metrics;
    HealthSink& health;
    std::string state_dir;
  };
  // What a proxy verifies its peers by.
  struct Content {
    std::string roots_pem;
    std::string crl_pem;  // empty: none
    bool crl_of_leaf_only = false;

    bool operator==(const Content& other) const = default;
  };

  // Reads what is on disk.
  Trust(Context context, const config::Config& config);
  ~Trust();
  Trust(const Trust&) = delete;
  Trust& operator=(const Trust&) = delete;

  // For each new content, the first included; set before start().
  void on_change(std::function<void(const Content&)> callback);
  void start();
  void stop();
  // Blocking; after stop().
  Status erase();

  // A new identity, before anybody else hears of it: its roots are trusted by the time it is shown.
  void on_identity(const certs::IdentityPtr& identity);
  // For xds::Relay::Options::proxy_config: any thread.
  std::function<Status(const std::string& config)> control_plane_sink();

  const Content& content() const;
  // Whom a server must be certified by that was pinned by this root (TrustBundle::server_roots).
  std::string server_roots(const std::string& pinned) const;

  // For `hawser trust show`, `drop` and `allow`.
  nlohmann::json describe() const;
  // HWS-TR-006: there's no such root. HWS-TR-007: something that this host needs would be left without one.
  Status drop(const std::string& sha256);
  Status allow(const std::string& sha256);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser
