// SPDX-License-Identifier: Apache-2.0
#include "certs/rotation.h"

#include <algorithm>
#include <random>
#include <vector>

#include "base/backoff.h"
#include "base/log.h"
#include "certs/clock.h"
#include "certs/utc.h"

namespace hawser::certs {
namespace {

constexpr char kItem[] = "identity";
constexpr char kClockItem[] = "clock";
// The timer counts monotonic time; the wall clock may be set, and stands still in neither suspend nor migration.
constexpr auto kLookAtClock = std::chrono::seconds(10);
constexpr auto kSettling = std::chrono::seconds(1);
constexpr int kMostSettling = 30;
// A CA's outage that lasted longer than this has gathered hosts which would renew together ever after.
constexpr std::uint32_t kManyFailures = 3;

Error stopped() {
  return {Code::kCancelled, "HWS-ID-011", "renewing was stopped"};
}

Error clock_error(const std::string& what) {
  return {Code::kFailedPrecondition, "HWS-ID-015", what,
          "set the clock, or mend what sets it (timedatectl status, chronyc tracking)"};
}

std::string percent(double share) {
  return std::to_string(static_cast<int>(share * 100 + 0.5)) + "%";
}

}  // namespace

struct Rotation::Impl : std::enable_shared_from_this<Impl> {
  Loop& loop;
  SlowWorker& slow;
  KeyStore store;
  CaClient& ca;
  std::shared_ptr<TokenSource> tokens;
  Options options;
  HealthSink& health;
  Metrics& metrics;

  CertificateRequest asking;
  Backoff backoff;
  std::mt19937_64 random;
  ClockWatch clock;
  std::vector<std::function<void(const IdentityPtr&)>> listeners;
  std::function<void()> ready;
  std::vector<std::function<void(Status)>> waiting;
  IdentityPtr current;
  Loop::Wall in_force_from;         // when it was received, or its own beginning
  IdentityPtr unsaved;              // accepted, but not on disk yet
  std::optional<Loop::Wall> ended;  // of the last one that was valid, when there's none now
  std::optional<Loop::Wall> renewal;
  std::optional<Loop::Monotonic> renewal_mono;
  std::optional<double> warned;
  std::unique_ptr<Loop::Timer> timer;
  std::unique_ptr<Loop::Timer> clock_timer;
  std::string last_failure;
  std::string clock_note;
  bool news = false;  // the source told of some while a request was under way
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
        asking(l, s, c, tokens, options.request, m),
        backoff(options.retry_base, options.policy.retry_cap, options.seed),
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

  bool keeps_nothing() const { return ca.traits().makes_key; }
  bool valid() const { return current && !current->expired_at(loop.wall()); }
  double dice() { return std::uniform_real_distribution<double>(-1.0, 1.0)(random); }

  std::chrono::milliseconds within(std::chrono::milliseconds most) {
    return std::chrono::milliseconds(
        std::uniform_int_distribution<std::int64_t>(0, std::max<std::int64_t>(most.count(), 0))(random));
  }

  // --- the stored identity ---

  void begin() {
    running = true;
    busy = true;
    look_at_clock();
    ca.on_news([weak = weak_from_this()] {
      if (auto self = weak.lock(); self && self->running) self->heard_news();
    });
    if (keeps_nothing()) {
      busy = false;
      return request();
    }
    health.report(kItem, HealthState::kStarting, "reading the stored certificate", nullptr);
    on_worker([copy = store] { return copy.load(); },
              [](Impl& self, KeyStore::Loaded& loaded) { self.loaded(loaded, kMostSettling); });
  }

  void loaded(const KeyStore::Loaded& found, int patience) {
    if (patience == kMostSettling)
      for (const auto& note : found.notes) log::warn(note.message(), {{"id", note.id()}, {"fix", note.hint()}});
    auto usable = check_stored(found.identity);
    // Since the host booted the clock was good enough to be given this one.
    if (patience > 0 && !found.this_boot && awaits_clock(found.identity, usable))
      return void(timer = loop.after(kSettling, [this, found, patience] { loaded(found, patience - 1); }));
    busy = false;
    if (!usable) {
      log::info("the stored certificate isn't used: " + usable.error().message(), {{"id", usable.error().id()}});
      if (usable.error().id() == "HWS-ID-009") ended = found.identity->not_after;
    }
    if (!usable || !found.identity) return request_within(options.restart_spread);
    in_force_from = found.identity->not_before;
    renewal = found.renewal;
    announce(found.identity, false);
    if (running) tell({});
  }

  Status check_stored(const IdentityPtr& stored) const {
    if (!stored) return {};
    if (!options.request.expected.matches(stored->spiffe_id))
      return Error(Code::kFailedPrecondition, "HWS-ID-010",
                   "it is for " + stored->spiffe_id + ", but this host is " + options.request.expected.spiffe_id);
    if (stored->expired_at(loop.wall()))
      return Error(Code::kFailedPrecondition, "HWS-ID-009", "it expired at " + utc_text(stored->not_after));
    return {};
  }

  // A clock that nobody has set yet makes good certificates look early or ended; soon somebody may set it.
  bool awaits_clock(const IdentityPtr& stored, const Status& usable) {
    if (!stored || !options.clock_unsettled || !options.clock_unsettled()) return false;
    const bool early = loop.wall() < stored->not_before;
    if (!early && (usable || usable.error().id() != "HWS-ID-009")) return false;
    const std::string what = "waiting for this host's clock to be set; it says " + utc_text(loop.wall()) +
                             ", and the stored certificate is for " + utc_text(stored->not_before) + " to " +
                             utc_text(stored->not_after);
    health.report(kClockItem, HealthState::kStarting, what, nullptr);
    if (std::exchange(clock_note, what).empty()) log::warn(what, {{"id", "HWS-ID-015"}});
    return true;
  }

  // --- one request ---

  void request_within(std::chrono::milliseconds most) {
    const auto delay = within(most);
    if (delay.count() == 0) return request();
    health.report(kItem, HealthState::kStarting, "asking the CA in " + span_text(delay), nullptr);
    timer = loop.after(delay, [this] { request(); });
  }

  void heard_news() {
    news = true;
    if (!busy) request();
  }

  void request() {
    timer.reset();
    if (busy || !running) return;
    busy = true;
    news = false;
    if (unsaved && !unsaved->expired_at(loop.wall()) && !(unsaved == current && due())) return save();
    if (!current)
      health.report(kItem, HealthState::kStarting,
                    keeps_nothing() ? "asking for a certificate" : "asking the CA for a certificate", nullptr);
    asking.start(valid() ? current : nullptr, [weak = weak_from_this()](const Result<IdentityPtr>& got) {
      if (auto self = weak.lock(); self && self->running) self->answered(got);
    });
  }

  void answered(const Result<IdentityPtr>& got) {
    if (!got) return failed(explain(got.error()));
    if (keeps_nothing()) return got_from_source(*got);
    // Planned before it is saved, because the plan is saved with it.
    const bool spread = !valid() || backoff.attempts() > kManyFailures;
    const auto from = std::max((*got)->not_before, loop.wall());
    renewal = plan_renewal(options.policy, from, (*got)->not_after, loop.wall(), spread, dice());
    unsaved = *got;
    save();
  }

  void got_from_source(const IdentityPtr& got) {
    busy = false;
    if (current && got->same_as(*current)) return unchanged();
    metrics.add("hawser_cert_requests_total", "Requests for a certificate", {{"result", "ok"}});
    in_force_from = std::max(got->not_before, std::min(loop.wall(), got->not_after));
    renewal.reset();
    announce(got, false);
    finish_round();
  }

  // Whoever makes the certificates is late, or we were asked to look.
  void unchanged() {
    if (!due()) {
      wait();
      return finish_round();
    }
    const Error late(Code::kUnavailable, "HWS-ID-016",
                     ca.traits().name + " still has the certificate that ends at " + utc_text(current->not_after),
                     "look at what renews it");
    if (warning_due(options.policy, in_force_from, current->not_after, loop.wall())) return failed(late);
    timer = loop.after(retry_cap(options.policy, current->not_after - loop.wall()), [this] { request(); });
    finish_round();
  }

  void finish_round() {
    if (!running) return;
    tell({});
    if (running && news) request();
  }

  // Nothing that proves who we are is left, and it can't be had without somebody: then say all of it.
  Error explain(const Error& error) const {
    const bool unproved = error.id() == "HWS-ID-020" || error.id() == "HWS-ID-022";
    if (!unproved || valid() || tokens->traits().attests_again) return error;
    std::string what = error.message();
    if (const auto when = current ? std::optional(current->not_after) : ended)
      what =
          "nothing is left that proves who this host is: the certificate ended at " + utc_text(*when) + ", and " + what;
    Error out(error.code(), error.id(), what, options.how_to_prove);
    out.because(error);
    return out;
  }

  void save() {
    on_worker([copy = store, identity = unsaved, plan = renewal] { return copy.store(*identity, plan); },
              [](Impl& self, Status& stored) { self.saved(stored); });
  }

  void saved(const Status& stored) {
    if (!stored) return not_saved(stored.error());
    busy = false;
    auto identity = std::exchange(unsaved, nullptr);
    if (identity == current) {
      // Saved after all, when it was in force already; its renewal is planned from when it was taken.
      settled();
      wait();
      return finish_round();
    }
    metrics.add("hawser_cert_requests_total", "Requests for a certificate", {{"result", "ok"}});
    in_force_from = std::max(identity->not_before, loop.wall());
    announce(identity, true);
    finish_round();
  }

  // The disk may be full for longer than the certificate lasts. Then the host stays in the mesh with one that is only
  // in memory, and saving is tried on; a crash meanwhile leaves the one before, as if it had never been issued.
  void not_saved(const Error& error) {
    const bool ending = current && current->not_after - loop.wall() <= 2 * options.policy.retry_cap;
    if (ending && unsaved != current) {
      in_force_from = std::max(unsaved->not_before, loop.wall());
      announce(unsaved, true);
    }
    if (running) failed(error);
  }

  // --- outcomes ---

  void settled() {
    backoff.reset();
    last_failure.clear();
    warned.reset();
    ended.reset();
    health.report(kItem, HealthState::kOk, current->spiffe_id + " until " + utc_text(current->not_after), nullptr);
  }

  void announce(const IdentityPtr& identity, bool proves_clock) {
    current = identity;
    log::info(
        "certificate in force",
        {{"spiffe_id", identity->spiffe_id}, {"serial", identity->serial}, {"until", utc_text(identity->not_after)}});
    metrics.set("hawser_cert_expiry_timestamp_seconds", "When the certificate ends", {},
                static_cast<double>(unix_seconds(identity->not_after)));
    settled();
    if (proves_clock) clock_is_right();
    follow_plan();
    // Callbacks may call back, stop() included.
    const auto keep = shared_from_this();
    for (const auto& listener : listeners) listener(identity);
    if (!running) return;
    if (auto once = std::exchange(ready, nullptr)) once();
  }

  void failed(const Error& error) {
    busy = false;
    metrics.add("hawser_cert_requests_total", "Requests for a certificate", {{"result", "failed"}});
    const auto cap = retry_cap(options.policy, current ? current->not_after - loop.wall() : Loop::Duration::zero());
    // What only an operator can mend is asked for at a steady pace, so that the mend shows soon; not in step with
    // others.
    const auto steady = std::min(cap, options.policy.retry_cap);
    const auto delay = error.retryable() ? backoff.next(cap) : steady - within(steady / 5);
    // Once for each cause; an outage of a day is one line, not thousands.
    const bool is_news = last_failure != error.to_string();
    last_failure = error.to_string();
    (is_news ? log::warn : log::debug)("no new certificate: " + last_failure,
                                       {{"next_try_ms", std::to_string(delay.count())}});
    report_failure(error);
    timer = loop.after(delay, [this] { request(); });
    const auto keep = shared_from_this();
    tell(error);
  }

  void report_failure(const Error& error) {
    if (!valid()) return health.report(kItem, HealthState::kFailed, error.message(), &error);
    warn_of_the_end(error);
    std::string text = "can't renew: " + error.message() + "; valid until " + utc_text(current->not_after);
    if (warned) text += ", less than " + percent(*warned) + " of its life is left";
    health.report(kItem, HealthState::kDegraded, text, &error);
  }

  void warn_of_the_end(const Error& error) {
    const auto threshold = warning_due(options.policy, in_force_from, current->not_after, loop.wall());
    if (!threshold || (warned && *warned <= *threshold)) return;
    warned = threshold;
    metrics.add("hawser_cert_warnings_total", "Thresholds passed by a certificate that couldn't be renewed",
                {{"left", percent(*threshold)}});
    log::error("the certificate ends in " + span_text(current->not_after - loop.wall()) +
                   " and can't be renewed: " + error.message(),
               {{"id", "HWS-ID-014"}, {"cause", error.id()}, {"fix", error.hint()}});
  }

  void tell(const Status& outcome) {
    for (const auto& done : std::exchange(waiting, {})) done(outcome);
  }

  // --- time ---

  // A plan that was made for this certificate is kept, unless the configuration now wants it sooner.
  void follow_plan() {
    const auto now = loop.wall();
    const auto latest =
        renewal_time(in_force_from, current->not_after, options.policy.renew_at, options.policy.jitter, 1);
    if (!renewal || *renewal > latest)
      renewal = plan_renewal(options.policy, in_force_from, current->not_after, now, false, dice());
    // Overdue because the host was off or busy: so were others, perhaps.
    if (*renewal <= now && !keeps_nothing())
      renewal = now + std::min<Loop::Duration>(within(options.restart_spread), (current->not_after - now) / 4);
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

  void look_at_clock() {
    if (const auto moved = clock.look(loop.wall(), loop.now())) clock_moved(*moved);
    clock_timer = loop.after(kLookAtClock, [this] { look_at_clock(); });
  }

  void clock_moved(Loop::Duration by) {
    const bool forward = by > Loop::Duration::zero();
    metrics.add("hawser_clock_jumps_total", "Times that the wall clock was set, or the host was suspended",
                {{"direction", forward ? "forward" : "back"}});
    clock_note = "the clock went " + moved_text(by) + "; it says " + utc_text(loop.wall());
    log::warn(clock_note + (current ? "; the certificate is for " + utc_text(current->not_before) + " to " +
                                          utc_text(current->not_after)
                                    : std::string()),
              {{"id", "HWS-ID-015"}});
    const bool fits = !current || (valid() && current->not_before <= loop.wall());
    if (fits) return clock_fits();
    const Error error = clock_error(clock_note + ", which isn't within the certificate's life");
    health.report(kClockItem, HealthState::kDegraded, error.message(), &error);
  }

  // Back within the certificate's life: what failed meanwhile did so because of the clock.
  void clock_fits() {
    health.report(kClockItem, HealthState::kOk, clock_note, nullptr);
    if (!current || busy || due() || last_failure.empty()) return;
    settled();
    wait();
  }

  // The CA's clock and ours agree well enough to have made this certificate.
  void clock_is_right() {
    if (clock_note.empty() || current->not_before > loop.wall() || current->expired_at(loop.wall())) return;
    clock_note.clear();
    health.report(kClockItem, HealthState::kOk, "agrees with the CA's", nullptr);
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
  impl_->clock_timer.reset();
  impl_->asking.cancel();
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
