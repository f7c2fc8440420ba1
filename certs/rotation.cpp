// SPDX-License-Identifier: Apache-2.0
#include "certs/rotation.h"

#include <algorithm>
#include <random>
#include <vector>

#include "base/backoff.h"
#include "base/log.h"
#include "certs/csr.h"
#include "certs/utc.h"

namespace hawser::certs {
namespace {

constexpr char kItem[] = "identity";
// The timer counts monotonic time; the wall clock may be set, and stands still in neither suspend nor migration.
constexpr auto kLookAtClock = std::chrono::seconds(10);

// What the slow worker makes ready for one request.
struct Prepared {
  Secret key;
  std::string csr_pem;
  std::optional<Token> token;
  std::optional<Error> no_token;
};

Result<std::shared_ptr<Prepared>> prepare(TokenSource& tokens, KeyKind kind, const std::string& spiffe_id) {
  auto out = std::make_shared<Prepared>();
  if (auto token = tokens.read(); token)
    out->token = std::move(*token);
  else
    out->no_token = token.error();
  auto key = make_key(kind);
  if (!key) return key.error();
  auto csr = make_csr(*key, spiffe_id);
  if (!csr) return csr.error();
  out->key = std::move(*key);
  out->csr_pem = std::move(*csr);
  return out;
}

Error expired_token(Loop::Wall when) {
  return {Code::kUnauthenticated, "HWS-ID-022", "the token expired at " + utc_text(when),
          "make a new bundle or token and run hawser join again"};
}

Error stopped() {
  return {Code::kCancelled, "HWS-ID-011", "renewing was stopped"};
}

}  // namespace

Loop::Wall renewal_time(Loop::Wall from, Loop::Wall not_after, double share, double jitter, double dice) {
  const double at = std::clamp(share + jitter * std::clamp(dice, -1.0, 1.0), 0.0, 1.0);
  const std::chrono::duration<double, std::nano> life = std::max(not_after - from, Loop::Duration::zero());
  return from + std::chrono::duration_cast<Loop::Duration>(life * at);
}

struct Rotation::Impl : std::enable_shared_from_this<Impl> {
  Loop& loop;
  SlowWorker& slow;
  KeyStore store;
  CaClient& ca;
  std::shared_ptr<TokenSource> tokens;
  Options options;
  HealthSink& health;
  Metrics& metrics;

  Backoff backoff;
  std::mt19937_64 random;
  std::vector<std::function<void(const IdentityPtr&)>> listeners;
  std::function<void()> ready;
  std::vector<std::function<void(Status)>> waiting;
  IdentityPtr current;
  IdentityPtr unsaved;  // accepted, but not on disk yet
  std::optional<Loop::Wall> renewal;
  std::optional<Loop::Monotonic> renewal_mono;
  std::optional<Loop::Wall> token_expired;  // of the token that the request under way carries
  std::unique_ptr<Loop::Timer> timer;
  std::string last_failure;
  bool busy = false;
  bool running = false;

  Impl(Loop& l, SlowWorker& s, KeyStore k, CaClient& c, std::shared_ptr<TokenSource> t, Options o, HealthSink& h,
       Metrics& m)
      : loop(l),
        slow(s),
        store(std::move(k)),
        ca(c),
        tokens(std::move(t)),
        options(std::move(o)),
        health(h),
        metrics(m),
        backoff(options.retry_base, options.retry_cap, options.seed),
        random(options.seed + 1) {}

  // Runs `work` on the slow worker and hands its result to `then` on the loop, unless we're stopped or gone by then.
  // The worker may outlive us, so `work` must own what it uses.
  template <typename Work, typename Then>
  void on_worker(Work work, Then then) {
    slow.submit([weak = weak_from_this(), &loop_ref = loop, work = std::move(work), then = std::move(then)]() mutable {
      auto result = std::make_shared<decltype(work())>(work());
      loop_ref.post([weak = std::move(weak), result, then = std::move(then)] {
        if (auto self = weak.lock(); self && self->running) then(*self, *result);
      });
    });
  }

  bool valid() const { return current && !current->expired_at(loop.wall()); }

  // --- the stored identity ---

  void begin() {
    running = true;
    busy = true;
    health.report(kItem, HealthState::kStarting, "reading the stored certificate", nullptr);
    on_worker([copy = store] { return copy.load(); },
              [](Impl& self, KeyStore::Loaded& loaded) { self.loaded(loaded); });
  }

  void loaded(const KeyStore::Loaded& found) {
    busy = false;
    for (const auto& note : found.notes) log::warn(note.message(), {{"id", note.id()}, {"fix", note.hint()}});
    if (auto usable = check_stored(found.identity); !usable) {
      log::info("the stored certificate isn't used: " + usable.error().message(), {{"id", usable.error().id()}});
      return request();
    }
    if (!found.identity) return request();
    take(found.identity, found.identity->not_before);
  }

  Status check_stored(const IdentityPtr& stored) const {
    if (!stored) return {};
    if (!options.expected.matches(stored->spiffe_id))
      return Error(Code::kFailedPrecondition, "HWS-ID-010",
                   "it is for " + stored->spiffe_id + ", but this host is " + options.expected.spiffe_id);
    if (stored->expired_at(loop.wall()))
      return Error(Code::kFailedPrecondition, "HWS-ID-009", "it expired at " + utc_text(stored->not_after));
    return {};
  }

  // --- one request ---

  void request() {
    timer.reset();
    if (busy || !running) return;
    busy = true;
    if (unsaved && !unsaved->expired_at(loop.wall()) && !(unsaved == current && due())) return save();
    if (!current) health.report(kItem, HealthState::kStarting, "asking the CA for a certificate", nullptr);
    on_worker([source = tokens, kind = options.key, id = options.expected.spiffe_id] { return prepare(*source, kind, id); },
              [](Impl& self, Result<std::shared_ptr<Prepared>>& prepared) { self.prepared(prepared); });
  }

  void prepared(const Result<std::shared_ptr<Prepared>>& result) {
    if (!result) return failed(result.error());
    const auto& made = *result;
    if (!made->token && !valid()) return failed(*made->no_token);
    token_expired.reset();
    if (made->token && made->token->expired_at(loop.wall())) {
      token_expired = made->token->expires;
      if (!valid())
        log::warn(expired_token(*token_expired).message() + "; the CA will refuse it", {{"id", "HWS-ID-022"}});
    }
    CaClient::Request ask;
    ask.csr_pem = made->csr_pem;
    ask.ttl = options.ttl;
    ask.spiffe_id = options.expected.spiffe_id;
    if (made->token) ask.token = std::move(made->token->text);
    if (valid()) ask.client = current;
    ca.sign(std::move(ask), [weak = weak_from_this(), made](Result<CaClient::Answer> answer) {
      if (auto self = weak.lock(); self && self->running) self->answered(*made, answer);
    });
  }

  void answered(Prepared& made, const Result<CaClient::Answer>& answer) {
    if (!answer) return failed(explain(answer.error()));
    auto identity = accept_answer(std::move(made.key), *answer, options.expected, loop.wall());
    if (!identity) return failed(identity.error());
    unsaved = std::move(*identity);
    save();
  }

  // The CA doesn't tell why it refused a token; an expired one is the common cause, and we can see it.
  Error explain(const Error& refusal) const {
    if (refusal.code() != Code::kUnauthenticated || !token_expired) return refusal;
    Error error = expired_token(*token_expired);
    error.because(refusal);
    return error;
  }

  void save() {
    on_worker([copy = store, identity = unsaved] { return copy.store(*identity); },
              [](Impl& self, Status& stored) { self.saved(stored); });
  }

  void saved(const Status& stored) {
    if (!stored) return not_saved(stored.error());
    auto identity = std::exchange(unsaved, nullptr);
    if (identity == current) return back_on_disk();
    metrics.add("hawser_cert_requests_total", "Requests for a certificate", {{"result", "ok"}});
    take(identity, std::max(identity->not_before, loop.wall()));
  }

  // The disk may be full for longer than the certificate lasts. Then the host stays in the mesh with one that is only
  // in memory, and saving is tried on; a crash meanwhile leaves the one before, as if it had never been issued.
  void not_saved(const Error& error) {
    const bool ending = current && current->not_after - loop.wall() <= 2 * options.retry_cap;
    if (ending && unsaved != current) announce(unsaved, std::max(unsaved->not_before, loop.wall()));
    if (running) failed(error);
  }

  // Saved after all, when it was in force already; its renewal is planned from when it was taken.
  void back_on_disk() {
    busy = false;
    settled();
    wait();
    tell({});
  }

  // --- outcomes ---

  void take(const IdentityPtr& identity, Loop::Wall from) {
    busy = false;
    announce(identity, from);
    if (!running) return;
    tell({});
  }

  void settled() {
    backoff.reset();
    last_failure.clear();
    health.report(kItem, HealthState::kOk, current->spiffe_id + " until " + utc_text(current->not_after), nullptr);
  }

  void announce(const IdentityPtr& identity, Loop::Wall from) {
    current = identity;
    log::info(
        "certificate in force",
        {{"spiffe_id", identity->spiffe_id}, {"serial", identity->serial}, {"until", utc_text(identity->not_after)}});
    metrics.set("hawser_cert_expiry_timestamp_seconds", "When the certificate ends", {},
                static_cast<double>(unix_seconds(identity->not_after)));
    settled();
    plan_renewal(from);
    // Callbacks may call back, stop() included.
    const auto keep = shared_from_this();
    for (const auto& listener : listeners) listener(identity);
    if (!running) return;
    if (auto once = std::exchange(ready, nullptr)) once();
  }

  void failed(const Error& error) {
    busy = false;
    metrics.add("hawser_cert_requests_total", "Requests for a certificate", {{"result", "failed"}});
    const auto delay = error.retryable() ? backoff.next() : at_cap();
    // Once for each cause; an outage of a day is one line, not thousands.
    const bool news = last_failure != error.to_string();
    last_failure = error.to_string();
    (news ? log::warn : log::debug)("no new certificate: " + last_failure,
                                    {{"next_try_ms", std::to_string(delay.count())}});
    if (valid())
      health.report(kItem, HealthState::kDegraded,
                    "can't renew: " + error.message() + "; valid until " + utc_text(current->not_after), &error);
    else
      health.report(kItem, HealthState::kFailed, error.message(), &error);
    timer = loop.after(delay, [this] { request(); });
    const auto keep = shared_from_this();
    tell(error);
  }

  // Waiting is all that can be done, but many hosts that wait for the same operator shouldn't ask in step.
  std::chrono::milliseconds at_cap() {
    const auto cap = options.retry_cap.count();
    return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(cap - cap / 5, cap)(random));
  }

  void tell(const Status& outcome) {
    for (const auto& done : std::exchange(waiting, {})) done(outcome);
  }

  void plan_renewal(Loop::Wall from) {
    const double dice = std::uniform_real_distribution<double>(-1.0, 1.0)(random);
    const auto now = loop.wall();
    renewal = std::max(renewal_time(from, current->not_after, options.renew_at, options.jitter, dice),
                       now + Loop::Duration(options.floor));
    renewal_mono = loop.now() + (*renewal - now);
    metrics.set("hawser_cert_next_renewal_timestamp_seconds", "When the certificate is renewed", {},
                static_cast<double>(unix_seconds(*renewal)));
    wait();
  }

  // Whichever clock gets there first: one set forward or a long suspend mustn't let the certificate end; one set back
  // mustn't put renewing off.
  Loop::Duration left() const { return std::min<Loop::Duration>(*renewal - loop.wall(), *renewal_mono - loop.now()); }
  bool due() const { return left() <= Loop::Duration::zero(); }

  void wait() {
    if (due()) return request();
    timer = loop.after(std::min<Loop::Duration>(left(), kLookAtClock), [this] { wait(); });
  }
};

Rotation::Rotation(Loop& loop, SlowWorker& slow, KeyStore store, CaClient& ca, std::shared_ptr<TokenSource> tokens,
                   Options options, HealthSink& health, Metrics& metrics)
    : impl_(std::make_shared<Impl>(loop, slow, std::move(store), ca, std::move(tokens), std::move(options), health,
                                   metrics)) {}

Rotation::~Rotation() {
  stop();
}

void Rotation::on_change(std::function<void(const IdentityPtr&)> callback) {
  impl_->listeners.push_back(std::move(callback));
}

void Rotation::start(std::function<void()> ready) {
  impl_->ready = std::move(ready);
  impl_->begin();
}

void Rotation::stop() {
  if (!impl_->running) return;
  impl_->running = false;
  impl_->timer.reset();
  impl_->ca.cancel();
  impl_->tell(stopped());
}

void Rotation::renew_now(std::function<void(Status)> done) {
  if (!impl_->running) return done(stopped());
  impl_->waiting.push_back(std::move(done));
  impl_->request();
}

IdentityPtr Rotation::current() const {
  return impl_->current;
}

std::optional<Loop::Wall> Rotation::next_renewal() const {
  return impl_->current ? impl_->renewal : std::nullopt;
}

}  // namespace hawser::certs
