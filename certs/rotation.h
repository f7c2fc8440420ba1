// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "certs/ca_client.h"
#include "certs/certificate_request.h"
#include "certs/key_store.h"
#include "certs/renewal_plan.h"
#include "certs/token.h"

namespace hawser::certs {

// What: keeps this host's identity valid, whoever uses it. Takes the stored one if it is good, else asks the CA; renews
// with a new key each time; keeps the old one while renewing fails. Of a source that makes keys itself
// (CaClient::Traits) nothing is stored; what it has is taken when it tells of news, and looked at when it should have
// renewed. Threading: on the loop; tokens, keys and files on the slow worker; callbacks on the loop. What it was given
// by reference must outlive it. Failure: never gives up. Each failure is the health item "identity" with its cause and
// fix; what may pass is tried again by back-off, what needs the operator at the back-off's cap. Each threshold of the
// policy is told once as the end nears (HWS-ID-014). The item "clock" tells of jumps and of waiting for a first setting
// (HWS-ID-015). Durability: an identity is announced after it is on disk; one exception: if the disk refuses until the
// one in force is about to end, the next is used from memory (the health item tells HWS-ID-005) and saving goes on. The
// planned renewal is stored with it, so that restarts of many hosts don't make them renew together. Metrics:
// hawser_cert_expiry_timestamp_seconds, hawser_cert_next_renewal_timestamp_seconds, hawser_cert_requests_total{result},
// hawser_cert_warnings_total{left}, hawser_clock_jumps_total{direction}.
class Rotation {
 public:
  struct Options {
    CertificateRequest::Options request;
    RenewalPolicy policy;
    std::chrono::milliseconds retry_base{100};
    // A host that comes back with nothing valid, or with a renewal overdue, asks anywhere within this time.
    std::chrono::milliseconds restart_spread{0};
    std::function<bool()> clock_unsettled;  // see clock.h; empty: never
    // What an operator does when nothing is left that proves who this host is.
    std::string how_to_prove = "make a new bundle or token and run hawser join again";
    std::uint64_t seed = 0;
  };

  Rotation(Loop& loop, SlowWorker& slow, KeyStore store, CaClient& ca, std::shared_ptr<TokenSource> tokens,
           Options options, HealthSink& health, Metrics& metrics);
  ~Rotation();
  Rotation(const Rotation&) = delete;
  Rotation& operator=(const Rotation&) = delete;

  // For each new identity, the first included; add them before start().
  void on_change(std::function<void(const IdentityPtr&)> callback);
  // `ready` runs once, when there is a valid identity, after the on_change callbacks.
  void start(std::function<void()> ready);
  void stop();
  // Renews at once; if a request is under way, its outcome is taken. Told once.
  void renew_now(std::function<void(Status)> done);

  IdentityPtr current() const;  // null before the first
  std::optional<Loop::Wall> next_renewal() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::certs
