// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/command.h"
#include "certs/token.h"

namespace hawser::certs {

// What: a program of the operator's that prints a token, for whatever Hawser has no source for. It runs as hawserd's
// user, with HAWSER_AUDIENCE and HAWSER_NONCE (both may be empty) in its environment and nothing else of ours. A JWT is
// kept until 40 % of its lifetime are left, any other text for 5 minutes (token_cache.h).
// Threading: see TokenSource. Failure: HWS-ID-030 (the program failed), HWS-ID-031 (what it printed is no token).
class ExecTokenSource final : public TokenSource {
 public:
  struct Options {
    std::vector<std::string> command;
    std::string audience;
    std::chrono::milliseconds timeout{10'000};
  };
  explicit ExecTokenSource(Options options) : options_(std::move(options)) {}
  Traits traits() const override { return {"exec", true, 0.4}; }
  Result<Token> attest(const Challenge& challenge) override;
  void cancel() override { run_.cancel(); }

 private:
  Options options_;
  CommandRun run_;
};

}  // namespace hawser::certs
