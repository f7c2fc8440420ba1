// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "certs/http_call.h"
#include "certs/token.h"

namespace hawser::certs {

// Of GCE_METADATA_HOST, which Google's own libraries read as well: HOST, HOST:PORT or [ADDRESS]:PORT. Empty: the
// address itself, so that neither a name server nor /etc/hosts has a say.
struct MetadataAddress {
  std::string host = "169.254.169.254";
  std::uint16_t port = 80;
};
Result<MetadataAddress> parse_metadata_address(const std::string& text);

// What the server answered → a token for this audience that hasn't ended. Pure.
// Failure: HWS-ID-034 (it isn't the metadata server), HWS-ID-035 (there's no service account, or it may not),
// HWS-ID-036 (another status; 429 and 5xx may pass), HWS-ID-037 (not a token for us).
Result<Token> parse_identity_answer(const HttpAnswer& answer, const std::string& audience, Loop::Wall now);

// What: the identity JWT of a Google Compute Engine VM, which Google signs for whatever audience is asked for, for
// about an hour (hybrid-mesh.md §3.1). It is fetched again when less than 40 % are left: 24 of 60 minutes, about as
// Istio's own fetcher does. Threading, Failure: see TokenSource; HWS-ID-033 (not reached) and those above.
class GceTokenSource final : public TokenSource {
 public:
  struct Options {
    std::string audience;
    std::chrono::milliseconds timeout{10'000};
    std::string metadata_host;  // GCE_METADATA_HOST
  };
  explicit GceTokenSource(Options options) : options_(std::move(options)) {}
  Traits traits() const override { return {"gce", true, 0.4}; }
  Result<Token> attest(const Challenge& challenge) override;
  void cancel() override { call_.cancel(); }

 private:
  Options options_;
  HttpCall call_{"HWS-ID-033"};
};

}  // namespace hawser::certs
