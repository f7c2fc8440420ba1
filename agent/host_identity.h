// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/asio_loop.h"
#include "base/health.h"
#include "base/metrics.h"
#include "base/result.h"
#include "certs/identity.h"
#include "certs/token.h"
#include "config/config.h"
#include "dial/selection.h"
#include "xds/options.h"

namespace hawser {

// What: who this host is, put together: the store, what proves it (token_sources.h), who certifies it (ca_sources.h),
// and their rotation. Threading: on the loop. Failure: open() fails if another hawserd holds the store; what comes
// later is the health item "identity", and is tried again. It has a worker of its own: a metadata server that doesn't
// answer, or a program that signs, takes seconds, and what others write mustn't wait for it.
class HostIdentity {
 public:
  struct Context {
    AsioLoop& loop;
    SlowWorker& slow;
    Metrics& metrics;
    HealthSink& health;
    std::string state_dir;
    std::function<std::string(const std::string& pinned)> server_roots{};  // Trust::server_roots
  };

  // A start by an operator's word asks at once, where a restart leaves others their turn.
  struct Begin {
    std::string token;  // to be stored first; may be empty
    bool joining = false;
  };

  static Result<std::unique_ptr<HostIdentity>> open(Context context, const config::Config& config, const Begin& begin);
  ~HostIdentity();
  HostIdentity(const HostIdentity&) = delete;
  HostIdentity& operator=(const HostIdentity&) = delete;

  // For each new identity, the first included; set before start().
  void on_change(std::function<void(const certs::IdentityPtr&)> callback);
  // `ready` runs once, when there is a valid identity.
  void start(std::optional<dial::Selection::Proxy> proxy, std::function<void()> ready);
  // Writes the configured exports: the identity in force, and whom to trust.
  void export_with(const std::string& roots_pem);
  void stop();
  // Blocking; after stop(). Exports stay.
  Status erase();
  void remove_exports(std::function<void(Status)> done);

  // Fails at once before start().
  void renew(std::function<void(Status)> done);
  // Stores a token, and asks with it at once. Refuses one that has expired (HWS-MB-001), and
  // where tokens come from elsewhere (HWS-ID-017).
  void prove(const std::string& token, std::function<void(Status)> done);
  certs::IdentityPtr current() const;
  std::shared_ptr<certs::TokenSource> token_source() const;
  // For `hawser cert show`; the serial is of what the proxy uses.
  Result<nlohmann::json> describe(const std::string& presented_serial) const;

  // What the relay shows the control plane at each attempt: the certificate in force, and the token if it's still good.
  // An absent or expired token is no obstacle: the certificate proves who we are.
  std::function<xds::Credentials()> relay_credentials() const;
  std::function<Result<std::string>()> relay_token() const;

 private:
  struct Impl;
  explicit HostIdentity(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser
