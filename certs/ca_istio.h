// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/metrics.h"
#include "certs/ca_client.h"

namespace hawser::dial {
class Dialler;
}

namespace hawser::certs {

// What: istio.v1.auth.IstioCertificateService over gRPC. Always TLS with a pinned root: a token never travels in clear.
// A valid client certificate and the token are both shown; if the server drops the connection that shows the
// certificate (it verifies it during the handshake, before it looks at the token), the token alone is tried. Each call
// dials anew, so that no stale connection or back-off is in the way. Threading: on the loop; gRPC's callbacks are
// posted to it; the diagnosis of a failure runs on the slow worker. Failure: HWS-CA-001 wrong root, -002 wrong server
// name, -003 unreachable, -004 unauthenticated, -005 not permitted, -006 the request is refused, -007 unusable answer,
// -012 connection dropped, -013 the CA is in trouble, -014 the server's certificate is out of date, -015 no TLS there.
// Metrics: hawser_ca_calls_total{code}, hawser_ca_without_certificate_total.
class IstioCa final : public CaClient {
 public:
  struct Options {
    std::vector<std::string> dial;     // host:port, tried in order while unreachable; unused with a dialler
    dial::Dialler* dialler = nullptr;  // outlives the client
    std::string server_name;           // verified, and sent as SNI and authority
    std::string roots_pem;
    std::function<std::string()> roots{};  // in place of roots_pem, asked at each attempt
    std::string cluster_id;
    std::chrono::milliseconds deadline{10'000};  // of each attempt
    std::chrono::milliseconds probe_timeout{3'000};

    std::string present_roots() const { return roots ? roots() : roots_pem; }
  };

  IstioCa(Loop& loop, SlowWorker& slow, Metrics& metrics, Options options);
  ~IstioCa() override;
  IstioCa(const IstioCa&) = delete;
  IstioCa& operator=(const IstioCa&) = delete;

  Traits traits() const override { return {"istio", false}; }
  void sign(Request request, Done done) override;
  void cancel() override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::certs
