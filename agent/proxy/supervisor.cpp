// SPDX-License-Identifier: Apache-2.0
#include "proxy/supervisor.h"

#include <csignal>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"

namespace hawser::proxy {
namespace {

constexpr auto kItem = "proxy";
constexpr auto kBootstrapFailed = "HWS-PX-010";

void show_backoff(Metrics& metrics, double seconds) {
  metrics.set("hawser_proxy_backoff_seconds", "The pause before the next attempt to start the proxy; 0: none", {},
              seconds);
}

}  // namespace

Supervisor::Supervisor(Loop& loop, GenerationHost& host, ProxyDriver& driver, ProcessWatcher& watcher, Options options,
                       HealthSink& health, Metrics& metrics)
    : loop_(loop),
      host_(host),
      driver_(driver),
      watcher_(watcher),
      options_(std::move(options)),
      health_(health),
      metrics_(metrics),
      machine_(options_),
      alive_(std::make_shared<bool>(true)),
      since_(loop.wall()) {
  show_live(false);
  if (options_.counters != nullptr) options_.counters->follow([this] { return counted(); });
  show_backoff(metrics_, 0);
}

Supervisor::~Supervisor() {
  if (options_.counters != nullptr) options_.counters->follow({});
}

void Supervisor::start(OnLive on_live, OnDown on_down) {
  on_live_ = std::move(on_live);
  on_down_ = std::move(on_down);
  host_.binaries([this, alive = std::weak_ptr(alive_)](const Result<HostedBinaries>& known) {
    if (!alive.expired() && known && !known->last_good_sha256.empty()) feed(event::KnownGood{known->last_good_sha256});
  });
  feed(event::Start{});
}

void Supervisor::stop(std::chrono::seconds drain, std::function<void(hawser::Status)> done) {
  on_stopped_.push_back(std::move(done));
  feed(event::Stop{drain});
}

Supervisor::Status Supervisor::status() const {
  const auto& facts = machine_.facts();
  return {facts.generation,
          facts.pid,
          std::string(phase_name(machine_.phase())),
          since_,
          facts.version,
          facts.concurrency,
          facts.binary_sha256,
          facts.proxy_state,
          facts.adopted,
          facts.listeners};
}

void Supervisor::scrape(std::function<void(Result<std::string>)> done) {
  if (options_.counters != nullptr) return options_.counters->scrape(std::move(done));
  if (machine_.facts().pid != 0) return driver_.scrape(machine_.facts().generation, std::move(done));
  done(Error(Code::kUnavailable, "HWS-PX-001", "no proxy is running", "hawser status says why"));
}

// Events that come while one is worked off wait, so that a host or driver may answer at once.
void Supervisor::feed(SupervisionEvent event) {
  events_.push_back(std::move(event));
  if (!feeding_) drain_events();
}

void Supervisor::drain_events() {
  feeding_ = true;
  while (!events_.empty()) {
    auto event = std::move(events_.front());
    events_.pop_front();
    count(event);
    const Phase before = machine_.phase();
    auto actions = machine_.handle(std::move(event), loop_.now());
    if (machine_.phase() != before) moved(before, actions);
    for (auto& action : actions) perform(action);
  }
  feeding_ = false;
}

// The reason is what the machine has to say about it: to the health item, or to those who lose the proxy.
void Supervisor::moved(Phase before, const std::vector<SupervisionAction>& actions) {
  timer_.reset();
  since_ = loop_.wall();
  (void)failpoint::fails("proxy.phase", std::string(phase_name(machine_.phase())));
  show_live(live());
  if (before == Phase::kWaiting) show_backoff(metrics_, 0);
  if (!live()) stand_in_.reset();
  std::string reason;
  for (const auto& action : actions) {
    if (const auto* down = std::get_if<action::Down>(&action)) reason = down->reason;
    if (const auto* report = std::get_if<action::Report>(&action); report != nullptr && reason.empty())
      reason = report->detail;
  }
  const auto& facts = machine_.facts();
  const std::string from(phase_name(before)), to(phase_name(machine_.phase()));
  log::info("the proxy is " + to, {{"generation", facts.generation}, {"before", from}, {"reason", reason}});
  metrics_.add("hawser_proxy_transitions_total", "States that the supervision of the proxy came to", {{"to", to}});
  if (starting_ && (machine_.phase() == Phase::kWaiting || machine_.phase() == Phase::kStopped))
    started_now(Error(Code::kUnavailable, "HWS-PX-006", "the proxy was started, and didn't get LIVE: " + reason,
                      "hawser proxy logs tells more; the next start is some seconds away"));
  if (options_.history == nullptr) return;
  options_.history->state(facts.generation, from, to, reason, {facts.pid, facts.binary_sha256, facts.version});
}

void Supervisor::show_live(bool live) {
  metrics_.set("hawser_proxy_live", "1 while the proxy is LIVE with its listeners bound", {}, live ? 1 : 0);
}

void Supervisor::perform(SupervisionAction& action) {
  std::visit([this](const auto& item) { run(item); }, action);
}

void Supervisor::count(const SupervisionEvent& event) {
  const auto* started = std::get_if<event::Started>(&event);
  if (started != nullptr && started->result) metrics_.add("hawser_proxy_starts_total", "Proxy generations started");
}

template <typename Event, typename Value>
std::function<void(Value)> Supervisor::answer() {
  return [this, alive = std::weak_ptr(alive_), turn = machine_.turn()](Value value) {
    if (!alive.expired() && turn == machine_.turn()) feed(Event{std::move(value)});
  };
}

void Supervisor::later(std::function<void()> work) {
  loop_.post([alive = std::weak_ptr(alive_), work = std::move(work)] {
    if (!alive.expired()) work();
  });
}

void Supervisor::run(const action::Observe&) {
  host_.observe(answer<event::Observed, Result<std::vector<HostedGeneration>>>());
}

void Supervisor::run(const action::Validate&) {
  const auto& generation = machine_.facts().generation;
  bootstrap_ = options_.bootstrap ? options_.bootstrap(generation) : std::string();
  if (bootstrap_.empty())
    return feed(event::Validated{Error(Code::kUnavailable, kBootstrapFailed, "no bootstrap could be made for the proxy",
                                       "hawser status names the cause")});
  host_.validate(generation, bootstrap_, driver_.args(0), machine_.binary(),
                 answer<event::Validated, Result<Validation>>());
}

// The very bytes that were validated. Whoever saw an earlier one of that name off has nothing left to do.
void Supervisor::run(const action::Launch&) {
  retirements_.erase(machine_.facts().generation);
  host_.start(machine_.facts().generation, bootstrap_, driver_.args(0), machine_.binary(),
              answer<event::Started, Result<StartedGeneration>>());
}

void Supervisor::run(const action::Probe&) {
  auto probed = [this, alive = std::weak_ptr(alive_), turn = machine_.turn()](const Result<ProbeResult>& seen) {
    if (alive.expired() || turn != machine_.turn()) return;
    feed(event::Probed{seen, seen ? std::vector<Listener>() : driver_.listening(options_.required_ports)});
  };
  const std::string& generation = machine_.facts().generation;
  if (machine_.phase() == Phase::kLive)
    driver_.watch(generation, std::move(probed));
  else
    driver_.probe(generation, std::move(probed));
}

void Supervisor::run(const action::ProbeData&) {
  if (!driver_.capabilities().data_path_probe) return feed(event::DataProbed{hawser::Status()});
  driver_.probe_data(machine_.facts().generation, answer<event::DataProbed, hawser::Status>());
}

void Supervisor::run(const action::Diagnose&) {
  driver_.diagnose(machine_.facts().generation, answer<event::Diagnosed, std::string>());
}

void Supervisor::run(const action::WatchExit& watch) {
  watch_ = watcher_.watch(watch.pid, [this, pid = watch.pid] { exited(pid); });
}

void Supervisor::run(const action::BeginDrain&) {
  driver_.begin_drain(machine_.facts().generation, DrainKind::kClosing, answer<event::DrainBegun, hawser::Status>());
}

void Supervisor::run(const action::Count&) {
  driver_.count_connections(machine_.facts().generation, answer<event::Counted, Result<std::uint64_t>>());
}

void Supervisor::run(const action::Signal& signal) {
  auto go = [this, alive = std::weak_ptr(alive_), generation = machine_.facts().generation, number = signal.number,
             done = answer<event::Signalled, hawser::Status>()] {
    if (!alive.expired()) host_.signal(generation, number, done);
  };
  if (signal.number == SIGTERM && options_.counters != nullptr) return options_.counters->read_last(std::move(go));
  go();
}

// None while it isn't known who runs.
std::vector<Counters::Generation> Supervisor::counted() const {
  std::vector<Counters::Generation> out;
  const auto& facts = machine_.facts();
  if (facts.pid == 0) return out;
  out.push_back({facts.generation, facts.pid});
  if (replacement_) out.push_back({replacement_->new_name(), 0});
  for (const auto& [name, retirement] : retirements_)
    if (name != facts.generation) out.push_back({name, 0});
  return out;
}

void Supervisor::run(const action::Reap& reap) {
  host_.reap(machine_.facts().generation, reap.wait, answer<event::Reaped, Result<ReapedGeneration>>());
}

void Supervisor::run(const action::Wake& wake) {
  if (machine_.phase() == Phase::kWaiting) show_backoff(metrics_, std::chrono::duration<double>(wake.after).count());
  timer_ = loop_.after(wake.after, [this, turn = machine_.turn()] {
    if (turn == machine_.turn()) feed(event::Woke{});
  });
}

void Supervisor::run(const action::Live& event) {
  const auto& facts = machine_.facts();
  note_serving(facts.adopted ? "adopted" : "cold start");
  serves_since_ = loop_.now();
  // Of one that was found it isn't known whether its predecessor ended before its time. Where it lives the name is
  // taken.
  if (facts.adopted && driver_.capabilities().stand_in) stand_in_ = driver_.stand_in(facts.generation);
  rests_until_.reset();
  if (starting_ && facts.adopted) {
    started_now(Error(Code::kAborted, "HWS-PX-021",
                      facts.generation + " was found running, and serves: none was started",
                      "hawser proxy status; now it can be replaced"));
  } else if (starting_) {
    Restarted told;
    told.generation = facts.generation;
    told.pid = facts.pid;
    told.version = facts.version;
    told.hand_over = HandOverKind::kPlannedCold;
    told.why = "none ran, and the next start was some time away";
    told.took = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - starting_->since);
    started_now(told);
  }
  if (event.down_for) {
    const double seconds = std::chrono::duration<double>(*event.down_for).count();
    metrics_.set("hawser_proxy_restart_seconds", "How long the proxy was last not LIVE", {}, seconds);
    log::info("the proxy is back", {{"generation", facts.generation}, {"after_s", std::to_string(seconds)}});
  }
  later([this, generation = facts.generation, pid = facts.pid] {
    if (on_live_ && live()) on_live_(generation, pid);
  });
}

void Supervisor::run(const action::Down& down) {
  log::warn("the proxy is lost", {{"reason", down.reason}});
  later([this, reason = down.reason] {
    if (on_down_) on_down_(reason);
  });
}

void Supervisor::run(const action::Report& report) {
  health_.report(kItem, report.state, report.detail, report.error ? &*report.error : nullptr);
}

void Supervisor::run(const action::Crashed& crash) {
  metrics_.add("hawser_proxy_crashes_total", "Ends of the proxy that nobody asked for", {{"cause", crash.cause}});
}

// What is put aside makes way for the last good one; so that one is noted first.
void Supervisor::run(const action::GiveUp& give_up) {
  log::error("a binary of the proxy is put aside", {{"sha256", give_up.binary_sha256}, {"reason", give_up.reason}});
  const std::string words = "its binary " + digest_text(give_up.binary_sha256) + " is put aside";
  aftermath_ += "; " + words;
  keep_note(words + ": " + give_up.reason);
  auto lock_away = [this, alive = std::weak_ptr(alive_), give_up, done = answer<event::GivenUp, hawser::Status>()] {
    if (alive.expired()) return;
    host_.mark(give_up.binary_sha256, BinaryMark::kQuarantine, give_up.reason, [done](const hawser::Status& marked) {
      if (!marked) log::warn("a binary of the proxy can't be put aside", {{"cause", marked.error().to_string()}});
      done(marked);
    });
  };
  if (give_up.way_back.empty()) return lock_away();
  note_good(give_up.way_back, "it served before", std::move(lock_away));
}

void Supervisor::run(const action::Trust& trust) {
  note_good(trust.binary_sha256, trust.why, [] {});
}

void Supervisor::note_good(const std::string& sha256, const std::string& why, std::function<void()> then) {
  log::info("the proxy's binary is good", {{"sha256", sha256}, {"why", why}});
  host_.mark(sha256, BinaryMark::kGood, why, [then = std::move(then)](const hawser::Status& done) {
    if (!done) log::warn("the proxy's binary can't be noted as good", {{"cause", done.error().to_string()}});
    then();
  });
}

void Supervisor::run(const action::RolledBack& back) {
  aftermath_ += "; what served before is started again";
  metrics_.add("hawser_proxy_rollbacks_total", "Returns to a binary of the proxy that served before",
               {{"cause", back.cause}});
}

// An entry of the history without a change of state.
void Supervisor::keep_note(const std::string& reason) {
  if (options_.history == nullptr) return;
  const auto now = status();
  options_.history->state(now.generation, now.state, now.state, reason);
}

void Supervisor::run(const action::RecordExit& exit) {
  metrics_.add("hawser_proxy_exits_total", "Proxy generations that ended", {{"status", exit_text(exit.status)}});
}

void Supervisor::run(const action::Stopped& stopped) {
  watch_.reset();
  stand_in_.reset();
  auto waiting = std::exchange(on_stopped_, {});
  for (auto& done : waiting) later([done = std::move(done), result = stopped.result] { done(result); });
}

}  // namespace hawser::proxy
