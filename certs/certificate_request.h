// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "certs/ca_client.h"
#include "certs/csr.h"
#include "certs/token.h"

namespace hawser::certs {

// What: one new certificate: a fresh key, its request, and each way there is to prove who asks, until the CA takes one:
// certificate and token, the token alone, the certificate alone, and a token that was fetched anew where the source
// can. Only a refusal of the proof (kUnauthenticated, kPermissionDenied) leads to the next way. Of a source that makes
// the key itself, whatever it has. Threading: on the loop; keys and tokens on the slow worker; `done` on the loop,
// once. Failure: the CA's first refusal, or why there's nothing to show; HWS-ID-022 where the token had expired.
// Metrics: hawser_cert_proofs_refused_total{proof}.
class CertificateRequest {
 public:
  struct Options {
    ExpectedId expected;
    KeyKind key = KeyKind::kEcP256;
    std::chrono::seconds ttl{24 * 3600};
  };
  using Done = std::function<void(Result<IdentityPtr>)>;

  CertificateRequest(Loop& loop, SlowWorker& slow, CaClient& ca, std::shared_ptr<TokenSource> tokens, Options options,
                     Metrics& metrics);
  ~CertificateRequest();
  CertificateRequest(const CertificateRequest&) = delete;
  CertificateRequest& operator=(const CertificateRequest&) = delete;

  // `client`: the certificate in force, or null when there's none that is valid.
  void start(IdentityPtr client, Done done);
  void cancel();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::certs
