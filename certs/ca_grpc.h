// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/metrics.h"
#include "certs/ca_client.h"
#include "certs/ca_protocol.h"

namespace hawser::dial {
class Dialler;
}

namespace hawser::certs {

// What: a CA that is asked over gRPC, in whatever protocol. Always TLS, verified by the given roots alone: a token
// never travels in clear. A valid client certificate and the token are both shown; if the server drops the connection
// that shows the certificate (it verifies it during the handshake, before it looks at the token), the token alone is
// tried. Each call dials anew, so that no stale connection or back-off is in the way. Threading: on the loop; gRPC's
// callbacks are posted to it; the diagnosis of a failure runs on the slow worker. Failure: HWS-CA-001 wrong root, -002
// wrong server name, -003 unreachable, -004 unauthenticated, -005 not permitted, -006 the request is refused, -007
// unusable answer, -012 connection dropped, -013 the CA is in trouble, -014 the server's certificate is out of date,
// -015 no TLS there, -018 the machine has no roots, -019 a token or header that gRPC can't carry. Metrics:
// hawser_ca_calls_total{code}, hawser_ca_without_certificate_total.
class GrpcCa final : public CaClient {
 public:
  struct Options {
    std::vector<std::string> dial;               // host:port, tried in order while unreachable; unused with a dialler
    dial::Dialler* dialler = nullptr;            // outlives the client
    std::string server_name;                     // verified, and sent as SNI and authority
    std::function<std::string()> roots;          // PEM; asked on the loop, for each request
    bool system_roots = false;                   // the machine's own instead
    std::map<std::string, std::string> headers;  // besides the protocol's
    std::chrono::milliseconds deadline{10'000};  // of each attempt
    std::chrono::milliseconds probe_timeout{3'000};
  };

  GrpcCa(Loop& loop, SlowWorker& slow, Metrics& metrics, std::unique_ptr<CaProtocol> protocol, Options options);
  ~GrpcCa() override;
  GrpcCa(const GrpcCa&) = delete;
  GrpcCa& operator=(const GrpcCa&) = delete;

  Traits traits() const override;
  void sign(Request request, Done done) override;
  void cancel() override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::certs
