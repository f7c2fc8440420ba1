// SPDX-License-Identifier: Apache-2.0
#include "proxy/replacement.h"

#include <csignal>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"

namespace hawser::proxy {
namespace {

using hand_over::Deed;

constexpr auto kReapSlice = std::chrono::milliseconds(5000);
constexpr auto kAskAgain = std::chrono::milliseconds(1000);

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

Replacement::~Replacement() = default;

void Replacement::start() {
  perform(machine_.begin());
}

void Replacement::old_ended() {
  feed(hand_over::OldEnded{});
}

void Replacement::call_off() {
  feed(hand_over::CallOff{});
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

void Replacement::perform(const std::vector<hand_over::Action>& actions) {
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

void Replacement::run(const hand_over::Action& action) {
  const std::string name = machine_.new_name();
  switch (action.deed) {
    case Deed::kObserve:
      return host_.observe(answer<hand_over::Observed, Result<std::vector<HostedGeneration>>>());
    case Deed::kProbeOld:
      return driver_.probe(machine_.old_name(), answer<hand_over::OldProbed, Result<ProbeResult>>());
    case Deed::kValidate:
      bootstrap_ = make_bootstrap_(name);
      if (bootstrap_.empty())
        return feed(
            hand_over::Validated{Error(Code::kUnavailable, "HWS-PX-010", "no bootstrap could be made for the proxy",
                                       "hawser status names the cause")});
      return host_.validate(name, bootstrap_, driver_.args(machine_.workers()),
                            answer<hand_over::Validated, Result<Validation>>());
    case Deed::kLaunch:
      if (!before_launch_) return launch(name);
      return before_launch_([this, alive = std::weak_ptr(alive_), name] {
        if (!alive.expired()) launch(name);
      });
    case Deed::kProbeNew:
      return driver_.probe(name, answer<hand_over::NewProbed, Result<ProbeResult>>());
    case Deed::kKill:
      log::warn("a proxy that isn't LIVE is ended", {{"generation", name}});
      return host_.signal(name, SIGKILL, answer<hand_over::Killed, Status>());
    case Deed::kReap:
      return host_.reap(name, action.after, answer<hand_over::Reaped, Result<ReapedGeneration>>());
  }
}

void Replacement::launch(const std::string& name) {
  host_.start(name, bootstrap_, driver_.args(machine_.workers()),
              [this, alive = std::weak_ptr(alive_)](const Result<StartedGeneration>& started) {
                if (alive.expired()) return;
                if (started) watch_ = watcher_.watch(started->pid, [this] { feed(hand_over::NewEnded{}); });
                feed(hand_over::Launched{started});
              });
}

Retirement::Retirement(Loop& loop, GenerationHost& host, std::string generation, Done done)
    : loop_(loop), host_(host), generation_(std::move(generation)), done_(std::move(done)) {}

void Retirement::start() {
  ask();
}

// In slices: each question to the host is bounded.
void Retirement::ask() {
  host_.reap(generation_, kReapSlice, [this, alive = std::weak_ptr(alive_)](const Result<ReapedGeneration>& result) {
    if (alive.expired()) return;
    const bool gone = !result && result.error().code() == Code::kNotFound;
    if (gone || (result && result->ended)) {
      loop_.post([alive, done = std::exchange(done_, nullptr),
                  status = gone ? std::nullopt : std::optional<int>(result->exit_status)] {
        if (!alive.expired() && done) done(status);
      });
      return;
    }
    timer_ = loop_.after(kAskAgain, [this] { ask(); });
  });
}

}  // namespace hawser::proxy
