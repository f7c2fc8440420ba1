// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/command.h"
#include "certs/http_call.h"
#include "certs/kubeconfig.h"
#include "certs/token.h"

namespace hawser::certs {

// What a credential plugin printed.
struct PluginCredential {
  Secret token;
  std::string chain_pem;
  Secret key;
};
Result<PluginCredential> parse_plugin_credential(std::string_view text);

// What the API server answered to a TokenRequest → a token for this audience. Pure.
// Failure: HWS-ID-045 (it refused), HWS-ID-046 (it can't be used).
Result<Token> parse_token_request_answer(const HttpAnswer& answer, const std::string& audience);

// What: a token of the workload's service account, made by the Kubernetes API server on request (TokenRequest, 1 h),
// with the rights of a kubeconfig's user, who needs `create` on serviceaccounts/token for that account and nothing
// else. The kubeconfig and the files that it names are read at each use, since whoever rotates them rewrites them. A
// new token is fetched when 40 % of its life are left (token_cache.h). Threading: see TokenSource. Failure: those of
// parse_kubeconfig, HWS-ID-040 (a file can't be read), HWS-ID-044 (the API server isn't reached), HWS-ID-047 (the
// plugin), those above. A kubeconfig that others can read is told once: HWS-ID-043.
class KubernetesTokenSource final : public TokenSource {
 public:
  struct Options {
    std::string kubeconfig;
    std::string context;
    std::string ns;  // the workload's
    std::string service_account;
    std::string audience;
    std::chrono::milliseconds timeout{10'000};
  };
  explicit KubernetesTokenSource(Options options) : options_(std::move(options)) {}
  Traits traits() const override { return {"kubernetes", true, 0.4}; }
  Result<Token> attest(const Challenge& challenge) override;
  void cancel() override;

 private:
  Result<HttpRequest> connect();
  Result<PluginCredential> ask_plugin(const KubeAccess& access, const std::string& roots_pem);
  void warn_if_open();

  Options options_;
  HttpCall call_{"HWS-ID-044"};
  CommandRun run_;
  bool warned_ = false;
};

}  // namespace hawser::certs
