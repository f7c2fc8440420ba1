// SPDX-License-Identifier: Apache-2.0
#include "proxy/replacement.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"

namespace hawser::proxy {
namespace {

using hand_over::Deed;

constexpr auto kReapSlice = std::chrono::milliseconds(5000);
constexpr auto kAskAgain = std::chrono::milliseconds(1000);
constexpr auto kMargin = std::chrono::milliseconds(1000);
constexpr unsigned kAsks = 3;
// The new one has been ended by then, if it isn't LIVE: its time begins when it runs, which the last readings of the
// old one's counters and a slow broker come before.
constexpr auto kHoldMargin = std::chrono::milliseconds(60000);

}  // namespace

Replacement::Replacement(Loop& loop, GenerationHost& host, ProxyDriver& driver, ProcessWatcher& watcher,
                         HandOverOptions options, Bootstrap bootstrap, Done done)
    : loop_(loop),
      host_(host),
      driver_(driver),
      watcher_(watcher),
      machine_(std::move(options)),
      make_bootstrap_(std::move(bootstrap)),
      done_(std::move(done)),
      started_at_(loop.now()) {}

Replacement::~Replacement() {
  if (feed_ != nullptr && machine_.holds()) feed_->release_listeners(machine_.new_name());
}

void Replacement::start() {
  perform(machine_.begin(loop_.now()));
}

void Replacement::old_ended() {
  feed(hand_over::OldEnded{});
}

void Replacement::call_off(std::string why) {
  feed(hand_over::CallOff{std::move(why)});
}

// Events that come while one is worked off wait, so that a host or driver may answer at once.
void Replacement::feed(HandOverEvent event) {
  events_.push_back(std::move(event));
  if (std::exchange(feeding_, true)) return;
  while (!events_.empty()) {
    const auto next = std::move(events_.front());
    events_.pop_front();
    const auto before = machine_.step();
    const auto actions = machine_.handle(next, loop_.now());
    if (machine_.step() != before) (void)failpoint::fails("proxy.hand_over", std::string(step_name(machine_.step())));
    perform(actions);
  }
  feeding_ = false;
}

void Replacement::tell_gates() {
  const auto& all = machine_.gates();
  for (; gates_told_ < all.size(); ++gates_told_)
    if (on_gate_) on_gate_(all[gates_told_]);
}

void Replacement::perform(const std::vector<hand_over::Action>& actions) {
  tell_gates();
  for (const auto& action : actions) {
    if (action.deed == Deed::kReap || action.after.count() == 0) {
      run(action);
      continue;
    }
    timer_ = loop_.after(action.after, [this, action, turn = machine_.turn()] {
      if (turn == machine_.turn()) run(action);
    });
  }
  if (machine_.done()) tell();
}

void Replacement::tell() {
  timer_.reset();
  watch_.reset();
  if (!done_) return;
  loop_.post([alive = std::weak_ptr(alive_), done = std::exchange(done_, nullptr), outcome = machine_.outcome()] {
    if (!alive.expired()) done(outcome);
  });
}

template <typename Event, typename Value>
std::function<void(Value)> Replacement::answer() {
  return [this, alive = std::weak_ptr(alive_), turn = machine_.turn()](Value value) {
    if (!alive.expired() && turn == machine_.turn()) feed(Event{std::move(value)});
  };
}

void Replacement::make_bootstrap() {
  bootstrap_ = make_bootstrap_(machine_.new_name());
}

void Replacement::run(const hand_over::Action& action) {
  const std::string name = machine_.new_name();
  switch (action.deed) {
    case Deed::kObserve:
      return host_.observe([this, alive = std::weak_ptr(alive_), turn = machine_.turn()](auto seen) {
        if (!alive.expired() && turn == machine_.turn()) feed(hand_over::Observed{std::move(seen), host_.memory_max()});
      });
    case Deed::kProbeOld:
      return driver_.probe(machine_.old_name(), answer<hand_over::OldProbed, Result<ProbeResult>>());
    case Deed::kInspectOld:
      return driver_.inspect(machine_.old_name(), answer<hand_over::OldInspected, Result<Inspection>>());
    case Deed::kRepair:
      return host_.repair(machine_.old_name(), answer<hand_over::Repaired, Status>());
    case Deed::kValidate:
      make_bootstrap();
      if (bootstrap_.empty())
        return feed(
            hand_over::Validated{Error(Code::kUnavailable, "HWS-PX-010", "no bootstrap could be made for the proxy",
                                       "hawser status names the cause")});
      return host_.validate(name, bootstrap_, driver_.args(machine_.workers()), machine_.binary(),
                            answer<hand_over::Validated, Result<Validation>>());
    case Deed::kSnapshot:
      return feed_->snapshot(answer<hand_over::SnapshotSeen, Result<ConfigFeed::Snapshot>>());
    case Deed::kHold:
      return feed_->hold_listeners(name, machine_.start_timeout() + kHoldMargin, answer<hand_over::Held, Status>());
    case Deed::kRelease:
      return feed_->release_listeners(name);
    case Deed::kDrainOld:
      log::info("the proxy drains before it's replaced", {{"generation", machine_.old_name()}});
      return driver_.begin_drain(machine_.old_name(), DrainKind::kStillAccepting, answer<hand_over::Drained, Status>());
    case Deed::kCountOld:
      return driver_.count_connections(machine_.old_name(), answer<hand_over::Counted, Result<std::uint64_t>>());
    case Deed::kEndOld:
      return after_reading(Reading::kLast,
                           [this] { host_.signal(machine_.old_name(), SIGTERM, [](const Status&) {}); });
    case Deed::kKillOld:
      return host_.signal(machine_.old_name(), SIGKILL, [](const Status&) {});
    case Deed::kLaunch:
      if (machine_.kind() != HandOverKind::kHotRestart) return launch(name);
      return after_reading(Reading::kBeforeHandOver, [this, name] { launch(name); });
    case Deed::kAskOld:
      return driver_.probe_data(machine_.old_name(), answer<hand_over::OldAnswered, Status>());
    case Deed::kProbeNew:
      return driver_.probe(name, answer<hand_over::NewProbed, Result<ProbeResult>>());
    case Deed::kInspectNew:
      return driver_.inspect(name, answer<hand_over::NewInspected, Result<Inspection>>());
    case Deed::kAskNew:
      return driver_.ask_worker(name, answer<hand_over::NewAnswered, Status>());
    case Deed::kDrainNew:
      log::warn("a proxy that didn't prove itself drains", {{"generation", name}});
      return driver_.begin_drain(name, DrainKind::kClosing, answer<hand_over::Drained, Status>());
    case Deed::kEndNew:
      return host_.signal(name, SIGTERM, answer<hand_over::Killed, Status>());
    case Deed::kKill:
      log::warn("a proxy that isn't to take over is ended", {{"generation", name}});
      return host_.signal(name, SIGKILL, answer<hand_over::Killed, Status>());
    case Deed::kReap:
      return host_.reap(name, action.after, answer<hand_over::Reaped, Result<ReapedGeneration>>());
    case Deed::kWait:
      return feed(hand_over::Waited{});
  }
}

void Replacement::after_reading(Reading reading, std::function<void()> go) {
  if (!read_old_) return go();
  read_old_(reading, [alive = std::weak_ptr(alive_), go = std::move(go)] {
    if (!alive.expired()) go();
  });
}

void Replacement::launch(const std::string& name) {
  host_.start(name, bootstrap_, driver_.args(machine_.workers()), machine_.binary(),
              [this, alive = std::weak_ptr(alive_)](const Result<StartedGeneration>& started) {
                if (alive.expired()) return;
                if (started) watch_ = watcher_.watch(started->pid, [this] { feed(hand_over::NewEnded{}); });
                feed(hand_over::Launched{started});
              });
}

Retirement::Retirement(Loop& loop, GenerationHost& host, std::string generation, Done done)
    : loop_(loop), host_(host), generation_(std::move(generation)), done_(std::move(done)) {}

Retirement::Retirement(Loop& loop, GenerationHost& host, std::string generation, Farewell farewell, Done done)
    : loop_(loop),
      host_(host),
      generation_(std::move(generation)),
      farewell_(std::move(farewell)),
      done_(std::move(done)) {}

void Retirement::start() {
  began_ = loop_.now();
  if (farewell_) return drain();
  ask();
}

// In slices: each question to the host is bounded.
void Retirement::ask() {
  reap(kReapSlice, [this] { timer_ = loop_.after(kAskAgain, [this] { ask(); }); });
}

void Retirement::reap(std::chrono::milliseconds wait, std::function<void()> next) {
  host_.reap(generation_, wait,
             [this, alive = std::weak_ptr(alive_), next = std::move(next)](const Result<ReapedGeneration>& result) {
               if (alive.expired()) return;
               if (!result && result.error().code() == Code::kNotFound) return finish(std::nullopt);
               if (result && result->ended) return finish(result->exit_status);
               next();
             });
}

void Retirement::finish(std::optional<int> status) {
  loop_.post([alive = std::weak_ptr(alive_), done = std::exchange(done_, nullptr), status] {
    if (!alive.expired() && done) done(status);
  });
}

void Retirement::drain() {
  (void)failpoint::fails("retire.drain", generation_);
  farewell_->driver.begin_drain(generation_, DrainKind::kClosing,
                                [this, alive = std::weak_ptr(alive_)](const Status& begun) {
                                  if (alive.expired()) return;
                                  if (!begun && ++failures_ < kAsks) {
                                    timer_ = loop_.after(kAskAgain, [this] { drain(); });
                                    return;
                                  }
                                  failures_ = 0;
                                  // Longer than the drain, so that it has stopped accepting before it's ended.
                                  if (begun) return reap(farewell_->drain + kMargin, [this] { say_farewell(); });
                                  log::warn("a proxy can't be asked to drain: " + begun.error().to_string());
                                  // It may hang, and goes on getting its share of new connections.
                                  reap(farewell_->drain + kMargin, [this] { end(SIGTERM); });
                                });
}

// Idle is only what was so twice: a connection may be between the kernel's queue and the count.
void Retirement::say_farewell() {
  if (loop_.now() - began_ >= std::max(farewell_->most, farewell_->drain + kMargin)) return end(SIGTERM);
  farewell_->driver.count_connections(generation_,
                                      [this, alive = std::weak_ptr(alive_)](const Result<std::uint64_t>& open) {
                                        if (alive.expired()) return;
                                        idle_ = open && *open == 0 ? idle_ + 1 : 0;
                                        if (idle_ >= 2) return end(SIGTERM);
                                        reap(kAskAgain, [this] { say_farewell(); });
                                      });
}

void Retirement::end(int signal) {
  auto send = [this, alive = std::weak_ptr(alive_), signal] {
    if (!alive.expired()) send_signal(signal);
  };
  if (signal == SIGTERM && farewell_->before_end) return farewell_->before_end(std::move(send));
  send();
}

void Retirement::send_signal(int signal) {
  host_.signal(generation_, signal, [this, alive = std::weak_ptr(alive_), signal](const Status& sent) {
    if (alive.expired()) return;
    if (!sent && sent.error().code() != Code::kNotFound) {
      timer_ = loop_.after(kAskAgain, [this, signal] { end(signal); });
      return;
    }
    if (signal == SIGKILL) return ask();
    reap(farewell_->end_wait, [this] { end(SIGKILL); });
  });
}

}  // namespace hawser::proxy
