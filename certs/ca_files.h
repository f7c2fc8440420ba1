// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/metrics.h"
#include "certs/ca_client.h"
#include "certs/pem_set.h"

namespace hawser::certs {

// What: an identity that somebody else keeps in files: Istio's agent, cert-manager, GKE's and GCE's workload
// certificates, our own store. Followed through swaps of links (FileWatch). Half-written sets are read again for a
// bounded time; what was in force stays so meanwhile.
// Threading: on the loop; files are read on the slow worker. Failure: HWS-CA-040 to -042 (pem_set.h), HWS-CA-043 it is
// somebody else's, HWS-CA-044 it has ended. Metrics: hawser_ca_updates_total.
class FilesCa final : public CaClient {
 public:
  struct Options {
    std::string folder;
    PemLayout layout = PemLayout::kAuto;
    ExpectedId expected;
    std::chrono::milliseconds patience{10'000};  // with what may be half-written
    std::chrono::milliseconds again{200};
    std::chrono::milliseconds settle{100};
  };

  FilesCa(AsioLoop& loop, SlowWorker& slow, Metrics& metrics, Options options);
  ~FilesCa() override;
  FilesCa(const FilesCa&) = delete;
  FilesCa& operator=(const FilesCa&) = delete;

  Traits traits() const override { return {"files", true}; }
  void sign(Request request, Done done) override;
  void cancel() override;
  void on_news(std::function<void()> news) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::certs
