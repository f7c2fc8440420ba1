// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/metrics.h"
#include "certs/ca_client.h"

namespace hawser::certs {

// What: an identity that a SPIFFE agent on this host keeps (SPIRE and others), by the Workload API. The agent makes key
// and certificate and renews them; hawserd follows. Of several identities the one is taken that this host is, whatever
// their order and hints; bundles of other trust domains and CRLs aren't used. The stream stays open; while it is broken
// the last identity serves until its end.
// Threading: on the loop. Failure: HWS-CA-030 nobody serves the socket, -031 no registration entry, -032 none of the
// identities is ours, -033 what it sends can't be used, -034 it failed, -035 nothing in time.
// Metrics: hawser_ca_calls_total{code}, hawser_ca_updates_total.
class SpiffeCa final : public CaClient {
 public:
  struct Options {
    std::string socket_path;
    ExpectedId expected;
    std::chrono::milliseconds timeout{30'000};  // of sign(), while the agent says nothing
    std::chrono::milliseconds retry_base{500};
    std::chrono::milliseconds retry_cap{30'000};
    std::uint64_t seed = 0;
  };

  SpiffeCa(Loop& loop, Metrics& metrics, Options options);
  ~SpiffeCa() override;
  SpiffeCa(const SpiffeCa&) = delete;
  SpiffeCa& operator=(const SpiffeCa&) = delete;

  Traits traits() const override { return {"spiffe", true}; }
  void sign(Request request, Done done) override;
  void cancel() override;
  void on_news(std::function<void()> news) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::certs
