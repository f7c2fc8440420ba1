// SPDX-License-Identifier: Apache-2.0
#include "proxy/supervision.h"

#include <algorithm>
#include <csignal>
#include <utility>

namespace hawser::proxy {
namespace {

constexpr auto kSettle = std::chrono::seconds(2);
constexpr auto kDiagnoseEvery = std::chrono::seconds(5);

Error late_error(const std::string& detail, bool live) {
  if (live)
    return {Code::kUnavailable, "HWS-PX-005", detail,
            "hawser status shows the control plane's state; ss -ltnp shows who owns a port"};
  return {Code::kDeadlineExceeded, "HWS-PX-004", detail,
          "hawser status shows the control plane's and the identity's state"};
}

std::string seconds_text(Loop::Duration duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count()) + " s";
}

}  // namespace

std::string_view phase_name(Phase phase) {
  switch (phase) {
    case Phase::kIdle:
      return "IDLE";
    case Phase::kObserving:
      return "OBSERVING";
    case Phase::kValidating:
      return "VALIDATING";
    case Phase::kStarting:
      return "STARTING";
    case Phase::kWarming:
      return "WARMING";
    case Phase::kLive:
      return "LIVE";
    case Phase::kHandingOver:
      return "HANDING_OVER";
    case Phase::kReaping:
      return "ENDED";
    case Phase::kWaiting:
      return "WAITING";
    case Phase::kDraining:
      return "DRAINING";
    case Phase::kEnding:
      return "ENDING";
    case Phase::kStopped:
      return "STOPPED";
  }
  return "UNKNOWN";
}

Supervision::Supervision(SupervisionOptions options)
    : options_(std::move(options)),
      backoff_(options_.backoff_base, options_.backoff_cap, options_.seed),
      budget_(options_.budget) {}

std::vector<SupervisionAction> Supervision::handle(SupervisionEvent event, Monotonic now) {
  out_.clear();
  std::visit([this, now](const auto& item) { on(item, now); }, event);
  return std::move(out_);
}

void Supervision::enter(Phase phase) {
  phase_ = phase;
  ++turn_;
  failures_ = 0;
  data_asked_ = false;
  // A choice is for one start: then the store's current one is what was chosen, or what its chooser went back to.
  if (chosen_ && (phase == Phase::kWaiting || phase == Phase::kLive)) {
    way_back_.clear();
    chosen_ = false;
  }
}

void Supervision::report(HealthState state, std::string detail, std::optional<Error> error) {
  act(action::Report{state, std::move(detail), std::move(error)});
}

// ---- start

void Supervision::on(const event::Start&, Monotonic) {
  if (phase_ != Phase::kIdle && phase_ != Phase::kStopped) return;
  stopping_ = false;
  first_look_ = true;
  backoff_.reset();
  down_since_.reset();
  way_back_.clear();
  remark_.clear();
  observe();
}

void Supervision::on(const event::StartNow& start, Monotonic) {
  if (phase_ != Phase::kWaiting) return;
  way_back_ = start.binary_sha256;
  chosen_ = true;
  remark_.clear();
  observe();
}

void Supervision::observe() {
  enter(Phase::kObserving);
  facts_ = {};
  replaceable_ = false;
  unasked_ = false;
  leftover_ = false;
  elder_.clear();
  act(action::Observe{});
}

void Supervision::on(const event::Observed& observed, Monotonic now) {
  if (phase_ == Phase::kLive) return watched_observation(observed, now);
  if (phase_ != Phase::kObserving) return;
  if (!observed.result) {
    if (stopping_) return ask_again(observed.result.error());
    return retry(HealthState::kDegraded, observed.result.error());
  }
  const HostedGeneration* found = choose(*observed.result);
  const bool first_look = std::exchange(first_look_, false);
  if (found != nullptr) return take_up(*found, first_look, now);
  if (stopping_) return finish({});
  enter(Phase::kValidating);
  facts_.generation = cold_name(*observed.result);
  report(HealthState::kStarting, "checking the bootstrap of " + facts_.generation);
  act(action::Validate{});
}

void Supervision::take_up(const HostedGeneration& found, bool first_look, Monotonic now) {
  facts_.generation = found.name;
  facts_.pid = found.pid;
  facts_.binary_sha256 = found.binary_sha256;
  if (!found.running) {
    enter(Phase::kReaping);
    act(action::Reap{kReapWait});
    return;
  }
  facts_.adopted = true;
  replaceable_ = first_look && elder_.empty();
  act(action::WatchExit{found.pid});
  // Its successor is dead, and it has closed its sockets: nothing is left that it could serve.
  if (retired_.erase(found.name) > 0) return end(SIGKILL);
  if (stopping_) return drain(now);
  warm(now);
}

void Supervision::on(const event::Validated& validated, Monotonic) {
  if (phase_ != Phase::kValidating) return;
  const bool passing = !validated.result && validated.result.error().retryable();
  if (!passing && (!validated.result || !validated.result->valid)) way_back_.clear();  // it's no way any more
  if (!validated.result) return retry(HealthState::kFailed, validated.result.error());
  if (!validated.result->valid)
    return retry(HealthState::kFailed, Error(Code::kFailedPrecondition, "HWS-PX-003",
                                             "the proxy refuses its bootstrap: " + validated.result->detail,
                                             "correct the configuration it comes from (hawser config check)"));
  facts_.version = validated.result->version;
  retired_.erase(facts_.generation);  // the name has come again
  enter(Phase::kStarting);
  report(HealthState::kStarting, "starting " + facts_.generation);
  act(action::Launch{});
}

void Supervision::on(const event::Started& started, Monotonic now) {
  if (phase_ != Phase::kStarting) return;
  if (!started.result) {
    if (stopping_) return observe();  // it may run all the same
    return retry(HealthState::kFailed, started.result.error());
  }
  facts_.pid = started.result->pid;
  facts_.binary_sha256 = started.result->binary_sha256;
  act(action::WatchExit{facts_.pid});
  if (stopping_) return end(SIGTERM);
  warm(now);
}

// Tries the whole way again, later.
void Supervision::retry(HealthState state, const Error& error) {
  enter(Phase::kWaiting);
  const bool passing = error.retryable() && backoff_.attempts() < kSeries;
  report(passing ? HealthState::kDegraded : state, error.message(), error);
  act(action::Wake{backoff_.next()});
}

// ---- warming

void Supervision::warm(Monotonic now) {
  enter(Phase::kWarming);
  warm_since_ = now;
  mute_since_.reset();
  live_without_since_.reset();
  closed_since_.reset();
  diagnosed_at_.reset();
  diagnosis_.clear();
  lost_gates_ = 0;
  act(action::Probe{});
}

void Supervision::learn(const ProbeResult& probe) {
  facts_.version = probe.version;
  facts_.concurrency = probe.concurrency;
  facts_.proxy_state = std::string(proxy_state_name(probe.state));
  if (probe.state == ProxyState::kLive) facts_.listeners = probe.listeners;
}

std::string Supervision::missing(const ProbeResult& probe, bool& closed) const {
  const std::string name(proxy_state_name(probe.state));
  if (probe.state == ProxyState::kPreInitializing) return name + ": it waits for clusters (CDS) from the control plane";
  if (probe.state == ProxyState::kInitializing)
    return name + ": it waits for listeners (LDS) or for a certificate (SDS)";
  if (probe.state == ProxyState::kDraining) return name + ": its health was set to failed from outside";
  if (!probe.ready) return name + ", but /ready says no";
  std::string ports;
  for (const auto port : options_.required_ports) {
    const auto has = [port](const Listener& listener) { return listener.port == port; };
    const auto open = [port](const Listener& listener) { return listener.port == port && listener.bound; };
    if (excused(facts_.pid, port)) continue;
    if (std::any_of(probe.listeners.begin(), probe.listeners.end(), open)) continue;
    if (std::any_of(probe.listeners.begin(), probe.listeners.end(), has)) closed = true;
    ports += (ports.empty() ? "" : ", ") + std::to_string(port);
  }
  return ports.empty() ? std::string() : name + ", but nothing listens on " + ports;
}

void Supervision::on(const event::Probed& probed, Monotonic now) {
  if (probed.result) learn(*probed.result);
  if (phase_ == Phase::kWarming) return warming(probed, now);
  if (phase_ == Phase::kLive) return watching(probed.result, now);
}

void Supervision::warming(const event::Probed& probed, Monotonic now) {
  const auto& probe = probed.result;
  const bool overdue = now - warm_since_ >= options_.start_timeout;
  if (!elder_.empty() && overdue && (!probe || probe->state != ProxyState::kLive)) return end(SIGKILL);
  if (!probe) return mute(probed, now);
  mute_since_.reset();
  // An earlier hawserd started it and it never was LIVE: nothing is lost by starting anew with today's bootstrap.
  if (replaceable_ && (probe->state == ProxyState::kPreInitializing || probe->state == ProxyState::kInitializing))
    return end(SIGTERM);
  bool closed = false;
  const std::string what = missing(*probe, closed);
  if (what.empty()) return go_live(now);
  if (!elder_.empty() && overdue && independent(elder_)) return end(SIGKILL);  // the elder serves as ever
  const bool live = probe->state == ProxyState::kLive;
  if (!live)
    live_without_since_.reset();
  else if (!live_without_since_)
    live_without_since_ = now;
  if (!closed)
    closed_since_.reset();
  else if (!closed_since_)
    closed_since_ = now;
  // A drain can't be undone: such a proxy takes no new connection, ever.
  if (closed_since_ && now - *closed_since_ >= kSettle) return end(SIGTERM);
  if (live_without_since_ && now - *live_without_since_ >= kSettle && end_beside()) return end(SIGTERM);
  not_yet(what, live, now);
}

void Supervision::not_yet(const std::string& what, bool live, Monotonic now) {
  waiting_for_ = what;
  waiting_live_ = live;
  const bool late = now - warm_since_ >= options_.start_timeout;
  const bool odd = live && live_without_since_ && now - *live_without_since_ >= kSettle;
  if ((late || odd) && (!diagnosed_at_ || now - *diagnosed_at_ >= kDiagnoseEvery)) {
    diagnosed_at_ = now;
    act(action::Diagnose{});
  }
  std::string detail = facts_.generation + " is " + what;
  if (late || odd) {
    if (!diagnosis_.empty()) detail += " (" + diagnosis_ + ")";
    report(HealthState::kDegraded, detail + ", for " + seconds_text(now - warm_since_), late_error(detail, live));
  } else {
    report(HealthState::kStarting, detail);
  }
  act(action::Wake{late ? options_.slow_poll : options_.warm_poll});
}

void Supervision::on(const event::Diagnosed& diagnosed, Monotonic now) {
  if (phase_ != Phase::kWarming) return;
  diagnosis_ = diagnosed.text;
  const std::string detail =
      facts_.generation + " is " + waiting_for_ + (diagnosis_.empty() ? "" : " (" + diagnosis_ + ")");
  report(HealthState::kDegraded, detail + ", for " + seconds_text(now - warm_since_),
         late_error(detail, waiting_live_));
}

// ---- live

void Supervision::go_live(Monotonic now) {
  enter(Phase::kLive);
  replaceable_ = false;
  live_since_ = now;
  lost_gates_ = 0;
  alive(now);
  budget_.live(facts_.binary_sha256, now);
  if (!elder_.empty()) {
    const bool drain = independent(elder_);
    retire(std::exchange(elder_, {}), drain);
  }
  std::optional<Loop::Duration> down_for;
  if (down_since_) down_for = now - *down_since_;
  down_since_.reset();
  if (unasked_)
    report(HealthState::kDegraded, cannot_ask().message(), cannot_ask());
  else
    report_live(facts_.adopted ? ", adopted" : "");
  act(action::Live{down_for});
  act(action::Wake{options_.watch_poll});
}

void Supervision::report_live(const std::string& how) {
  report(HealthState::kOk, facts_.generation + " is LIVE" + how + " (pid " + std::to_string(facts_.pid) + ", Envoy " +
                               facts_.version + ")" + remark_);
}

void Supervision::watching(const Result<ProbeResult>& probe, Monotonic now) {
  if (!probe) {
    suspect(now);
    if (phase_ != Phase::kLive) return;
    act(action::Wake{options_.watch_poll});
    // A mute admin interface is no proof: its workers may serve. Whether it runs is the host's to say.
    act(action::Observe{});
    ++failures_;
    if (unasked_)
      report(HealthState::kDegraded, cannot_ask().message(), cannot_ask());
    else if (failures_ >= kPatience)
      report(HealthState::kDegraded, "the admin interface of " + facts_.generation + " doesn't answer", probe.error());
    return;
  }
  failures_ = 0;
  unasked_ = false;
  alive(now);
  if (budget_.proves(facts_.binary_sha256, now))
    act(action::Trust{facts_.binary_sha256, "it has served for its probation"});
  bool closed = false;
  const std::string what = missing(*probe, closed);
  if (!what.empty() && ++lost_gates_ >= kPatience) return lost(what, now);
  act(action::Wake{options_.watch_poll});
  if (leftover_) act(action::Observe{});
  if (!what.empty()) return;
  lost_gates_ = 0;
  report_live();
}

void Supervision::watched_observation(const event::Observed& observed, Monotonic now) {
  // A host that can't answer says nothing about the proxy.
  if (!observed.result) return;
  const auto& all = *observed.result;
  const auto found =
      std::find_if(all.begin(), all.end(), [this](const auto& item) { return item.name == facts_.generation; });
  if (found != all.end() && found->running && found->pid == facts_.pid) {
    // One that a hand-over couldn't end: which of the two serves is to be found out anew.
    const bool stray = std::any_of(all.begin(), all.end(), [this](const HostedGeneration& item) {
      return item.running && item.name != facts_.generation && retired_.count(item.name) == 0;
    });
    if (stray) return observe();
    leftover_ = false;
    if (hangs_with_predecessor(all, now))
      end_hung(facts_.generation + " and its predecessor, which should have ended long ago, wait for each other", now);
    return;
  }
  announce_down(facts_.generation + " is gone", now);
  observe();
}

void Supervision::lost(const std::string& reason, Monotonic now) {
  announce_down(facts_.generation + " is " + reason, now);
  warm(now);
}

void Supervision::announce_down(const std::string& reason, Monotonic now) {
  if (!down_since_) down_since_ = now;
  if (now - live_since_ >= options_.steady) backoff_.reset();
  act(action::Down{reason});
}

// ---- the timer

void Supervision::on(const event::Woke&, Monotonic now) {
  switch (phase_) {
    case Phase::kLive:
      if (wedged(now)) return end_wedged(now);
      return act(action::Probe{});
    case Phase::kWarming:
      return act(action::Probe{});
    case Phase::kWaiting:
      return observe();
    case Phase::kDraining:
      return act(action::Count{});
    case Phase::kEnding:
      return act(action::Signal{signal_});
    case Phase::kObserving:
      return act(action::Observe{});
    case Phase::kReaping:
      return act(action::Reap{kReapWait});
    case Phase::kIdle:
    case Phase::kValidating:
    case Phase::kStarting:
    case Phase::kHandingOver:
    case Phase::kStopped:
      return;
  }
}

}  // namespace hawser::proxy
