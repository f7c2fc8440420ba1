// SPDX-License-Identifier: Apache-2.0
// The supervisor's part in a hand-over: one at a time, told to those who follow the generation that serves.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "proxy/supervisor.h"

namespace hawser::proxy {
namespace {

constexpr auto kTolerance = std::chrono::seconds(2);
constexpr auto kHour = std::chrono::hours(1);

// Refused before anything was tried.
bool is_refusal(const std::string& id) {
  for (const char* known : {"HWS-PX-003", "HWS-PX-020", "HWS-PX-021", "HWS-PX-022", "HWS-PX-023", "HWS-PX-030",
                            "HWS-PX-031", "HWS-PX-035", "HWS-PX-036", "HWS-PX-037", "HWS-PX-038", "HWS-PX-045"})
    if (id == known) return true;
  return false;
}

void count_restart(Metrics& metrics, const char* result) {
  metrics.add("hawser_proxy_restarts_total", "Restarts of the proxy that were asked for", {{"result", result}});
}

Error with_words(const Error& error, const std::string& more) {
  return {error.code(), error.id(), error.message() + more, error.hint()};
}

const char* words(HandOverKind kind) {
  if (kind == HandOverKind::kHotRestart) return "hot restart";
  return kind == HandOverKind::kSideBySide ? "hand-over side by side" : "planned cold start";
}

double seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

void Supervisor::restart(HandOverRequest request, std::function<void(Result<Restarted>)> done) {
  const bool plan = request.plan;
  const auto refuse = [this, &done, plan](Error error) {
    if (!plan) count_restart(metrics_, "refused");
    later([done = std::move(done), error = std::move(error)] { done(error); });
  };
  if (replacement_ || (plan && plan_))
    return refuse(Error(Code::kAborted, "HWS-PX-020", "a restart of the proxy is under way already",
                        "hawser status shows when it is done"));
  const bool any_will_do = !request.kind || *request.kind == HandOverKind::kPlannedCold;
  if (machine_.phase() == Phase::kWaiting && any_will_do && !plan) {
    log::info("the proxy is started at once: an operator asked for it");
    return start_now(request.binary_sha256, std::move(done));
  }
  const auto& facts = machine_.facts();
  const auto old = generation_id(facts.generation);
  if (machine_.phase() != Phase::kLive || !old)
    return refuse(Error(Code::kFailedPrecondition, "HWS-PX-021",
                        "the proxy is " + std::string(phase_name(machine_.phase())) + ", not LIVE",
                        "only a LIVE proxy can hand over; hawser status says what it lacks"));
  if (const std::string why = options_.unprepared ? options_.unprepared() : std::string(); !why.empty())
    return refuse(Error(Code::kFailedPrecondition, "HWS-PX-045", why, "hawser status shows what it waits for"));
  auto options = hand_over_options(*old, std::move(request));
  if (plan) return begin_plan(std::move(options), std::move(done));
  on_restarted_ = std::move(done);
  begin_hand_over(std::move(options));
}

void Supervisor::start_now(std::string binary_sha256, std::function<void(Result<Restarted>)> done) {
  auto limit = loop_.after(options_.start_timeout, [this] {
    started_now(Error(
        Code::kDeadlineExceeded, "HWS-PX-004",
        "the proxy was started, and isn't LIVE after " + std::to_string(options_.start_timeout.count() / 1000) + " s",
        "hawser status says what it lacks; it's waited for"));
  });
  starting_.emplace(Starting{std::move(done), loop_.now(), std::move(limit)});
  feed(event::StartNow{std::move(binary_sha256)});
}

void Supervisor::started_now(Result<Restarted> result) {
  if (!starting_) return;
  count_restart(metrics_, result ? "ok" : "failed");
  later([done = std::move(starting_->done), result = std::move(result)] { done(result); });
  starting_.reset();
}

hawser::Status Supervisor::call_off() {
  if (!replacement_ || !replacement_->may_be_called_off())
    return Error(Code::kFailedPrecondition, "HWS-PX-034",
                 replacement_ ? "it's too late to call the restart off" : "no restart of the proxy is under way",
                 "hawser status shows what serves");
  replacement_->call_off("an operator asked for it");
  return {};
}

HandOverOptions Supervisor::hand_over_options(const GenerationId& old, HandOverRequest request) {
  const auto& facts = machine_.facts();
  HandOverOptions options;
  options.request = std::move(request);
  if (!options.request.kind && options.request.as_configured) options.request.kind = options_.hand_over;
  options.old_id = old;
  options.old_pid = facts.pid;
  options.cold_allowed = options_.cold_allowed;
  options.queues_move = options_.queues_move && options_.queues_move();
  options.concurrency = options_.concurrency;
  options.required_ports = options_.required_ports;
  options.start_timeout = options_.start_timeout;
  options.end_wait = options_.end_wait;
  options.canary = options_.canary;
  options.drain = options_.drain;
  options.wedge_after = options_.wedge_after;
  if (options_.room) options.room = options_.room(facts.generation, facts.pid);
  options.can = driver_.capabilities();
  options.feed = options_.feed != nullptr;
  while (!hand_overs_.empty() && loop_.now() - hand_overs_.front() >= kHour) hand_overs_.pop_front();
  options.recent = static_cast<unsigned>(hand_overs_.size());
  options.per_hour = options_.hand_overs_per_hour;
  options.rests_until = rests_until_;
  return options;
}

void Supervisor::begin_plan(HandOverOptions options, std::function<void(Result<Restarted>)> done) {
  Restarted told;
  told.old_generation = machine_.facts().generation;
  told.old_pid = machine_.facts().pid;
  told.plan = true;
  plan_ = std::make_unique<Replacement>(
      loop_, host_, driver_, watcher_, std::move(options), options_.bootstrap,
      [this, told, done = std::move(done)](const HandOverOutcome& outcome) mutable {
        const auto plan = std::move(plan_);
        told.took = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - plan->started_at());
        told.hand_over = outcome.kind;
        told.why = outcome.why;
        told.generation = outcome.generation;
        told.gates = plan->gates();
        told.refusal = outcome.error;
        done(told);
      });
  plan_->use(options_.feed);
  plan_->start();
}

void Supervisor::begin_hand_over(HandOverOptions options) {
  const auto& facts = machine_.facts();
  restarted_ = Restarted();
  restarted_.old_generation = facts.generation;
  restarted_.old_pid = facts.pid;
  log::info("restarting the proxy", {{"generation", facts.generation}});
  replacement_ = std::make_unique<Replacement>(loop_, host_, driver_, watcher_, std::move(options), options_.bootstrap,
                                               [this](const HandOverOutcome& outcome) { end_hand_over(outcome); });
  replacement_->use(options_.feed);
  replacement_->on_gate([this](const Gate& gate) { keep_gate(gate); });
  if (options_.counters != nullptr)
    replacement_->read_old([this, name = facts.generation](Replacement::Reading reading, std::function<void()> go) {
      if (reading == Replacement::Reading::kLast) return options_.counters->read_last(std::move(go));
      options_.counters->read_before_hand_over(name, std::move(go));
    });
  feed(event::HandOverBegun{});
  replacement_->start();
}

void Supervisor::keep_gate(const Gate& gate) {
  // Of a planned cold start: nobody listens until the new one has taken over.
  if (gate.name == "gone" && gate.passed) show_live(false);
  metrics_.add("hawser_proxy_gates_total", "Gates that a generation was asked to pass in a hand-over",
               {{"gate", gate.name}, {"result", gate.passed ? "passed" : "failed"}});
  log::debug("a gate of the proxy", {{"generation", gate.generation},
                                     {"gate", gate.name},
                                     {"passed", gate.passed ? "yes" : "no"},
                                     {"reason", gate.reason}});
  if (options_.history != nullptr)
    options_.history->gate(gate.generation, gate.name, gate.passed, gate.reason, gate.took);
}

void Supervisor::count_hand_over(const HandOverOutcome& outcome) {
  const std::string kind(hand_over_name(outcome.kind));
  count_restart(metrics_, "ok");
  metrics_.add("hawser_proxy_hand_overs_total", "Proxies that took over from another", {{"hand_over", kind}});
  metrics_.add("hawser_proxy_starts_total", "Proxy generations started");
  metrics_.set("hawser_proxy_hand_over_seconds", "How long the last hand-over took, from request to take-over", {},
               seconds(restarted_.took));
  if (outcome.refused)
    metrics_.set("hawser_proxy_refused_seconds", "How long connects were refused in the last planned cold start", {},
                 seconds(*outcome.refused));
  log::info("the proxy is replaced", {{"generation", restarted_.generation},
                                      {"pid", std::to_string(restarted_.pid)},
                                      {"hand_over", kind},
                                      {"why", outcome.why},
                                      {"after_ms", std::to_string(restarted_.took.count())}});
}

bool Supervisor::anybody_listens() const {
  const auto listening = driver_.listening(options_.required_ports);
  return std::all_of(options_.required_ports.begin(), options_.required_ports.end(), [&, this](std::uint16_t port) {
    return machine_.excused(restarted_.old_pid, port) ||
           std::any_of(listening.begin(), listening.end(),
                       [port](const Listener& listener) { return listener.port == port; });
  });
}

void Supervisor::end_hand_over(const HandOverOutcome& outcome) {
  const auto replacement = std::move(replacement_);
  auto tell = std::exchange(on_restarted_, nullptr);
  restarted_.took = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - replacement->started_at());
  restarted_.hand_over = outcome.kind;
  restarted_.why = outcome.why;
  restarted_.gates = replacement->gates();
  restarted_.refused = outcome.refused;
  const bool refused = outcome.error && is_refusal(outcome.error->id());
  if (!refused) hand_overs_.push_back(loop_.now());
  if (outcome.error) {
    count_restart(metrics_, refused ? "refused" : "failed");
    log::warn("the proxy isn't replaced", {{"hand_over", std::string(hand_over_name(outcome.kind))},
                                           {"why", outcome.why},
                                           {"cause", outcome.error->to_string()}});
    if (outcome.new_exit) run(action::RecordExit{*outcome.new_exit});
  } else {
    restarted_.generation = outcome.generation;
    restarted_.pid = outcome.pid;
    restarted_.version = outcome.probe.version;
    count_hand_over(outcome);
  }
  aftermath_.clear();
  if (outcome.launched) retirements_.erase(outcome.generation);  // of an earlier one of that name
  feed(event::HandOverEnded{outcome, anybody_listens()});
  if (outcome.error && !refused) keep_note(outcome.error->message());
  if (outcome.old_ended) feed(event::Exited{restarted_.old_pid});
  later([tell = std::move(tell), result = outcome.error ? Result<Restarted>(with_words(*outcome.error, aftermath_))
                                                        : Result<Restarted>(restarted_)] { tell(result); });
  if (outcome.error && outcome.old_mute && options_.cold_allowed) later([this] { heal(); });
}

// It serves, but can't be asked, drained or replaced any more. That is worth a moment's outage where one is allowed;
// not the risk of another binary, for the store's current one may be what has just failed.
void Supervisor::heal() {
  HandOverRequest request;
  request.kind = HandOverKind::kPlannedCold;
  request.binary_sha256 = machine_.facts().binary_sha256;
  log::warn("the proxy lost its admin interface: a planned cold start puts it right");
  restart(std::move(request), [](const Result<Restarted>& result) {
    if (!result) log::warn(result.error().to_string());
  });
}

// The end of the old one in the middle of a hand-over is the hand-over's to deal with first.
void Supervisor::exited(pid_t pid) {
  if (replacement_ && pid == machine_.facts().pid) return replacement_->old_ended();
  feed(event::Exited{pid});
}

void Supervisor::run(const action::CallOffHandOver&) {
  if (replacement_) replacement_->call_off("the proxy is to end");
}

void Supervisor::run(const action::Replaced&) {
  note_serving(words(restarted_.hand_over));
  serves_since_ = loop_.now();
  rests_until_.reset();
  stand_in_.reset();
  const auto& facts = machine_.facts();
  later([this, generation = facts.generation, pid = facts.pid] {
    if (on_replaced_ && live()) on_replaced_(generation, pid);
  });
}

// The successor of one that ended before its time would end too, some seconds later.
void Supervisor::retired(const std::string& name, std::optional<int> ended) {
  if (ended) run(action::RecordExit{*ended});
  log::info("a proxy generation that handed over has ended", {{"generation", name}});
  const auto old = generation_id(name);
  const auto now = generation_id(machine_.facts().generation);
  if (!live() || !old || !now || now->family != old->family || now->epoch != old->epoch + 1) return;
  rests_until_ = loop_.now() + options_.rest;
  if (driver_.capabilities().stand_in) stand_in_ = driver_.stand_in(machine_.facts().generation);
  // When one that was found had taken over isn't known.
  const bool early = !machine_.facts().adopted && loop_.now() - serves_since_ + kTolerance < options_.parent_shutdown;
  if (!early && ended.value_or(0) == 0) return;
  const std::string reason = "parent_lost: " + name + " ended (" + exit_text(ended.value_or(-1)) +
                             ") while it drained; " +
                             (stand_in_ ? "hawserd stands in for it" : "nobody stands in for it");
  log::warn("the proxy's predecessor is lost", {{"generation", machine_.facts().generation}, {"reason", reason}});
  run(action::Crashed{"parent_lost"});
  keep_note(reason);
}

void Supervisor::run(const action::Retire& retire) {
  const std::string name = retire.generation;
  note_retiring(name);
  auto done = [this, name](std::optional<int> status) {
    retired(name, status);
    retirements_.erase(name);
    feed(event::Retired{name});
  };
  auto& slot = retirements_[name];
  if (retire.drain) {
    Retirement::Farewell farewell{driver_, options_.drain, options_.parent_shutdown, options_.end_wait, {}};
    if (options_.counters != nullptr)
      farewell.before_end = [this](std::function<void()> go) { options_.counters->read_last(std::move(go)); };
    slot = std::make_unique<Retirement>(loop_, host_, name, std::move(farewell), std::move(done));
  } else {
    slot = std::make_unique<Retirement>(loop_, host_, name, std::move(done));
  }
  slot->start();
}

}  // namespace hawser::proxy
