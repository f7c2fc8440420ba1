// SPDX-License-Identifier: Apache-2.0
// The supervisor's part in a hand-over: one at a time, told to those who follow the generation that serves.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "proxy/supervisor.h"

namespace hawser::proxy {
namespace {

constexpr auto kTolerance = std::chrono::seconds(2);

// Refused before anything was tried.
bool is_refusal(const std::string& id) {
  for (const char* known : {"HWS-PX-003", "HWS-PX-020", "HWS-PX-021", "HWS-PX-022", "HWS-PX-023"})
    if (id == known) return true;
  return false;
}

void count_restart(Metrics& metrics, const char* result) {
  metrics.add("hawser_proxy_restarts_total", "Hot restarts of the proxy that were asked for", {{"result", result}});
}

}  // namespace

void Supervisor::restart(std::function<void(Result<Restarted>)> done) {
  const auto refuse = [this, &done](Error error) {
    count_restart(metrics_, "refused");
    later([done = std::move(done), error = std::move(error)] { done(error); });
  };
  if (replacement_)
    return refuse(Error(Code::kAborted, "HWS-PX-020", "a restart of the proxy is under way already",
                        "hawser status shows when it is done"));
  const auto& facts = machine_.facts();
  const auto old = generation_id(facts.generation);
  if (machine_.phase() != Phase::kLive || !old)
    return refuse(Error(Code::kFailedPrecondition, "HWS-PX-021",
                        "the proxy is " + std::string(phase_name(machine_.phase())) + ", not LIVE",
                        "only a LIVE proxy can hand over; hawser status says what it lacks"));
  on_restarted_ = std::move(done);
  begin_hand_over(*old);
}

void Supervisor::begin_hand_over(const GenerationId& old) {
  const auto& facts = machine_.facts();
  HandOverOptions options;
  options.old_id = old;
  options.old_pid = facts.pid;
  options.concurrency = options_.concurrency;
  options.required_ports = options_.required_ports;
  options.start_timeout = options_.start_timeout;
  options.end_wait = options_.end_wait;
  if (options_.room) options.room = options_.room(facts.pid);
  restarted_ = Restarted{facts.generation, facts.pid, {}, 0, {}, {}};
  log::info("restarting the proxy", {{"generation", facts.generation}});
  replacement_ = std::make_unique<Replacement>(loop_, host_, driver_, watcher_, std::move(options), options_.bootstrap,
                                               [this](const HandOverOutcome& outcome) { end_hand_over(outcome); });
  if (options_.counters != nullptr)
    replacement_->before_launch([this, name = facts.generation](std::function<void()> go) {
      options_.counters->read_before_hand_over(name, std::move(go));
    });
  feed(event::HandOverBegun{});
  replacement_->start();
}

void Supervisor::end_hand_over(const HandOverOutcome& outcome) {
  const auto replacement = std::move(replacement_);
  auto tell = std::exchange(on_restarted_, nullptr);
  restarted_.took = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - replacement->started_at());
  if (outcome.error) {
    count_restart(metrics_, is_refusal(outcome.error->id()) ? "refused" : "failed");
    log::warn("the proxy isn't replaced", {{"cause", outcome.error->to_string()}});
  } else {
    restarted_.generation = replacement->new_name();
    restarted_.pid = outcome.pid;
    restarted_.version = outcome.probe.version;
    count_restart(metrics_, "ok");
    metrics_.add("hawser_proxy_starts_total", "Proxy generations started");
    metrics_.set("hawser_proxy_hand_over_seconds", "How long the last hot restart took, from request to LIVE", {},
                 std::chrono::duration<double>(restarted_.took).count());
    log::info("the proxy is replaced", {{"generation", restarted_.generation},
                                        {"pid", std::to_string(restarted_.pid)},
                                        {"after_ms", std::to_string(restarted_.took.count())}});
  }
  const auto listening = driver_.listening(options_.required_ports);
  const bool anybody =
      std::all_of(options_.required_ports.begin(), options_.required_ports.end(), [&listening](std::uint16_t port) {
        return std::any_of(listening.begin(), listening.end(),
                           [port](const Listener& listener) { return listener.port == port; });
      });
  feed(event::HandOverEnded{outcome, anybody});
  if (outcome.old_ended) feed(event::Exited{restarted_.old_pid});
  later([tell = std::move(tell),
         result = outcome.error ? Result<Restarted>(*outcome.error) : Result<Restarted>(restarted_)] { tell(result); });
}

// The end of the old one in the middle of a hand-over is the hand-over's to deal with first.
void Supervisor::exited(pid_t pid) {
  if (replacement_ && pid == machine_.facts().pid) return replacement_->old_ended();
  feed(event::Exited{pid});
}

void Supervisor::run(const action::CallOffHandOver&) {
  if (replacement_) replacement_->call_off();
}

void Supervisor::run(const action::Replaced&) {
  note_serving("hot restart");
  serves_since_ = loop_.now();
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
  stand_in_ = driver_.stand_in(machine_.facts().generation);
  // When one that was found had taken over isn't known.
  const bool early = !machine_.facts().adopted && loop_.now() - serves_since_ + kTolerance < options_.parent_shutdown;
  if (!early && ended.value_or(0) == 0) return;
  const std::string reason = "parent_lost: " + name + " ended (" + exit_text(ended.value_or(-1)) +
                             ") while it drained; " +
                             (stand_in_ ? "hawserd stands in for it" : "nobody stands in for it");
  log::warn("the proxy's predecessor is lost", {{"generation", machine_.facts().generation}, {"reason", reason}});
  run(action::Crashed{"parent_lost"});
  if (options_.history != nullptr)
    options_.history->state(machine_.facts().generation, status().state, status().state, reason);
}

void Supervisor::run(const action::Retire& retire) {
  const std::string name = retire.generation;
  note_retiring(name);
  auto& slot = retirements_[name];
  slot = std::make_unique<Retirement>(loop_, host_, name, [this, name](std::optional<int> status) {
    retired(name, status);
    retirements_.erase(name);
    feed(event::Retired{name});
  });
  slot->start();
}

}  // namespace hawser::proxy
