// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/loop.h"
#include "certs/token.h"

namespace hawser::certs {

// Both clocks, for tests.
class TokenClock {
 public:
  virtual ~TokenClock() = default;
  virtual Loop::Monotonic now() const;
  virtual Loop::Wall wall() const;
};

// What: keeps in memory what costs a process or a request elsewhere (TokenSource::Traits::refresh_at above 0): it is
// fetched once, and again when that share of its lifetime is left. Age counts by both clocks, so that neither a clock
// that is set nor a suspended host prolongs it; one whose end isn't known is kept for 5 minutes. If fetching fails, the
// one that is kept is used while it lasts, and the source is left alone for 5 s. What is cheap is read at each use.
// Nothing of a challenge with a nonce is kept.
// Threading: attest() blocks, on the slow worker; at_hand() never blocks; cancel() and forget() any thread. One mutex,
// held for copies only. Failure: the source's.
class TokenCache final : public TokenSource, public std::enable_shared_from_this<TokenCache> {
 public:
  explicit TokenCache(std::shared_ptr<TokenSource> source, std::shared_ptr<const TokenClock> clock = nullptr);
  Traits traits() const override { return source_->traits(); }
  Result<Token> attest(const Challenge& challenge) override;
  void cancel() override { source_->cancel(); }
  void forget() override;

  // For whoever may not wait: the last one, or nothing if there's none or it has ended. One that is due to be fetched
  // again is, in the background, one at a time.
  std::string at_hand(SlowWorker& slow);

 private:
  struct Kept {
    Token token;
    std::string audience;
    Loop::Monotonic at{};
    Loop::Wall at_wall{};
    Loop::Duration good_for{0};
  };
  Result<Token> fetch(const Challenge& challenge);
  Result<Token> failed(const Challenge& challenge, const Error& error);
  void keep(const Token& token, const std::string& audience);
  bool fresh() const;
  bool usable(const Challenge& challenge) const;
  bool resting() const;

  std::shared_ptr<TokenSource> source_;
  std::shared_ptr<const TokenClock> clock_;
  mutable std::mutex mutex_;
  std::optional<Kept> kept_;
  std::optional<Error> last_failure_;
  Loop::Monotonic failed_at_{};
  bool fetching_ = false;  // in the background
};

}  // namespace hawser::certs
