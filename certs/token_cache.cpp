// SPDX-License-Identifier: Apache-2.0
#include "certs/token_cache.h"

#include <algorithm>

#include "base/log.h"

namespace hawser::certs {
namespace {

using std::chrono::duration_cast;

constexpr auto kUnknownLife = std::chrono::minutes(5);
constexpr auto kRest = std::chrono::seconds(5);
// A server that hands out the same token until it ends would be asked at each use.
constexpr auto kLeast = std::chrono::seconds(10);

Token copy_of(const Token& token) {
  return {Secret::copy_of(token.text.reveal()), token.expires};
}

// How long a token that was just fetched is used before the next one. Its times are its issuer's; a host whose clock is
// wrong counts from its own.
Loop::Duration good_for(const Token& token, double refresh_at, Loop::Wall now) {
  if (!token.expires) return kUnknownLife;
  const auto claims = token_claims(token.text.reveal());
  const auto issued = claims && claims->issued ? *claims->issued : now;
  const Loop::Duration whole = std::max<Loop::Duration>(*token.expires - issued, Loop::Duration::zero());
  const Loop::Duration left = now < issued || now >= *token.expires ? whole : *token.expires - now;
  const auto spare = duration_cast<Loop::Duration>(std::chrono::duration<double, std::nano>(whole) * refresh_at);
  return std::max<Loop::Duration>(left - spare, kLeast);
}

}  // namespace

Loop::Monotonic TokenClock::now() const {
  return std::chrono::steady_clock::now();
}

Loop::Wall TokenClock::wall() const {
  return std::chrono::system_clock::now();
}

TokenCache::TokenCache(std::shared_ptr<TokenSource> source, std::shared_ptr<const TokenClock> clock)
    : source_(std::move(source)), clock_(clock ? std::move(clock) : std::make_shared<TokenClock>()) {}

bool TokenCache::fresh() const {
  if (!kept_ || source_->traits().refresh_at <= 0) return false;
  const Loop::Duration age = std::max<Loop::Duration>(clock_->now() - kept_->at, clock_->wall() - kept_->at_wall);
  return age < kept_->good_for;
}

bool TokenCache::resting() const {
  return last_failure_ && source_->traits().refresh_at > 0 && clock_->now() - failed_at_ < kRest;
}

bool TokenCache::usable(const Challenge& challenge) const {
  return kept_ && kept_->audience == challenge.audience && !kept_->token.expired_at(clock_->wall());
}

Result<Token> TokenCache::attest(const Challenge& challenge) {
  if (!challenge.nonce.empty()) return source_->attest(challenge);
  {
    const std::lock_guard lock(mutex_);
    if (fresh() && kept_->audience == challenge.audience) return copy_of(kept_->token);
    if (resting()) return usable(challenge) ? Result<Token>(copy_of(kept_->token)) : *last_failure_;
  }
  return fetch(challenge);
}

Result<Token> TokenCache::fetch(const Challenge& challenge) {
  auto token = source_->attest(challenge);
  if (!token) return failed(challenge, token.error());
  keep(*token, challenge.audience);
  return token;
}

void TokenCache::keep(const Token& token, const std::string& audience) {
  const std::lock_guard lock(mutex_);
  last_failure_.reset();
  const auto wall = clock_->wall();
  kept_ = Kept{copy_of(token), audience, clock_->now(), wall, good_for(token, source_->traits().refresh_at, wall)};
}

Result<Token> TokenCache::failed(const Challenge& challenge, const Error& error) {
  std::unique_lock lock(mutex_);
  const bool news = !last_failure_ || last_failure_->to_string() != error.to_string();
  last_failure_ = error;
  failed_at_ = clock_->now();
  // What is read at each use is gone when it can't be read.
  if (source_->traits().refresh_at <= 0) kept_.reset();
  if (!usable(challenge)) return error;
  Token token = copy_of(kept_->token);
  lock.unlock();
  if (news) log::warn("no new token, the one before is used while it lasts: " + error.to_string());
  return token;
}

void TokenCache::forget() {
  const std::lock_guard lock(mutex_);
  kept_.reset();
}

std::string TokenCache::at_hand(SlowWorker& slow) {
  std::string text;
  {
    const std::lock_guard lock(mutex_);
    if (usable({})) text = std::string(kept_->token.text.reveal());
    if (fetching_ || fresh() || resting()) return text;
    fetching_ = true;
  }
  slow.submit([self = shared_from_this()] {
    (void)self->fetch({});
    const std::lock_guard lock(self->mutex_);
    self->fetching_ = false;
  });
  return text;
}

}  // namespace hawser::certs
