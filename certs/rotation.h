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
#include "certs/csr.h"
#include "certs/key_store.h"
#include "certs/token.h"

namespace hawser::certs {

// When to renew: the given share of the way from `from` to `not_after`, moved by the jitter (a share too; `dice` is in
// [-1, 1]). Pure. `from` is when the certificate was received, or its own beginning when that isn't known any more:
// CAs date certificates back by minutes, which is much of a short life.
Loop::Wall renewal_time(Loop::Wall from, Loop::Wall not_after, double share, double jitter, double dice);

// What: keeps this host's identity valid, whoever uses it. Takes the stored one if it is good, else asks the CA; renews
// with a new key each time; keeps the old one while renewing fails.
// Threading: on the loop; tokens, keys and files on the slow worker; callbacks on the loop. What it was given by
// reference must outlive it.
// Failure: never gives up. Each failure is the health item "identity" with its cause and fix; what may pass is tried
// again by back-off, what needs the operator at the back-off's cap. An expired token is told before it is sent
// (HWS-ID-022). Durability: an identity is announced after it is on disk; one exception: if the disk refuses until the
// one in force is about to end, the next is used from memory (the health item tells HWS-ID-005) and saving goes on.
// Metrics: hawser_cert_expiry_timestamp_seconds, hawser_cert_next_renewal_timestamp_seconds,
// hawser_cert_requests_total{result}.
class Rotation {
 public:
  struct Options {
    ExpectedId expected;
    KeyKind key = KeyKind::kEcP256;
    std::chrono::seconds ttl{24 * 3600};
    double renew_at = 0.5;
    double jitter = 0.01;
    std::chrono::seconds floor{5};  // between two certificates, however short-lived
    std::chrono::milliseconds retry_base{100};
    std::chrono::milliseconds retry_cap{30'000};
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
