// SPDX-License-Identifier: Apache-2.0
#include "model_world.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "proxy/generation_name.h"

namespace hawser::proxy::model {
namespace {

using hand_over::Deed;

constexpr std::array kKinds{HandOverKind::kHotRestart, HandOverKind::kSideBySide, HandOverKind::kPlannedCold};

SupervisionOptions small_options() {
  SupervisionOptions out;
  out.required_ports = kPorts;
  out.start_timeout = milliseconds(2000);
  out.warm_poll = milliseconds(500);
  out.slow_poll = milliseconds(1000);
  out.watch_poll = milliseconds(1000);
  out.drain_poll = milliseconds(500);
  out.end_wait = milliseconds(1000);
  out.parent_shutdown = milliseconds(-8000);  // with the time that it may be overdue: 2 s
  out.wedge_after = milliseconds(2000);
  out.steady = milliseconds(3000);
  // All times are multiples of one, so that few states differ by time alone; a pause changes nothing but that.
  out.backoff_base = out.backoff_cap = milliseconds(0);
  out.budget.window = out.budget.quick_within = out.budget.probation = std::chrono::hours(10000);
  return out;
}

}  // namespace

std::string Move::text() const {
  static const char* const kNames[] = {"answer",  "fail",     "done-but-fail", "refuse", "exit",
                                       "tick",    "progress", "retire",        "tell",   "die",
                                       "mute",    "hang",     "speak",         "close",  "harden",
                                       "restart", "stop",     "start",         "crash",  "crash-and-done"};
  return std::string(kNames[static_cast<int>(kind)]) + " " + std::to_string(index);
}

World::World(Budget budget) : budget_(budget), machine_(small_options()) {
  now_ = Monotonic(std::chrono::hours(1));
  feed(event::Start{});
}

// ---- what can happen

std::vector<Move> World::moves() const {
  using Kind = Move::Kind;
  std::vector<Move> out;
  const bool fault = budget_.faults > 0;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    out.push_back({Kind::kAnswer, i});
    if (!fault) continue;
    out.push_back({Kind::kFail, i});
    if (calls_[i].kind == Call::Kind::kLaunch) out.push_back({Kind::kDoneButFail, i});
    if (calls_[i].kind == Call::Kind::kValidate) out.push_back({Kind::kRefuse, i});
  }
  if (has_ended(watch_)) out.push_back({Kind::kExit, 0});
  if (has_ended(new_watch_)) out.push_back({Kind::kExit, 1});
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    const auto& process = processes_[i];
    if (!process.running) {
      if (retiring_.count(process.name) > 0) out.push_back({Kind::kRetire, i});
      continue;
    }
    if (has_progress(process)) out.push_back({Kind::kProgress, i});
    if (process.mute && !process.robbed) out.push_back({Kind::kSpeak, i});
    if (!fault) continue;
    out.push_back({Kind::kDie, i});
    if (!process.mute) out.push_back({Kind::kMute, i});
    if (!process.hung) out.push_back({Kind::kHang, i});
    if (process.serves()) out.push_back({Kind::kClose, i});
    if (!process.stubborn) out.push_back({Kind::kHarden, i});
  }
  for (const auto& name : retiring_)
    if (find(name) == nullptr) out.push_back({Kind::kRetire, processes_.size()});
  if (timer_ || hand_over_timer_) out.push_back({Kind::kTick, 0});
  if (hand_over_ && hand_over_->done() && !told_) out.push_back({Kind::kTell, 0});
  if (budget_.hand_overs > 0 && machine_->phase() == Phase::kLive && !hand_over_)
    for (std::size_t kind = 0; kind <= kKinds.size(); ++kind) out.push_back({Kind::kRestart, kind});
  if (budget_.stops > 0 && wanted_) out.push_back({Kind::kStop, 0});
  if (budget_.stops > 0 && !wanted_ && machine_->phase() == Phase::kStopped) out.push_back({Kind::kStart, 0});
  if (budget_.crashes > 0) {
    out.push_back({Kind::kCrash, 0});
    if (!calls_.empty()) out.push_back({Kind::kCrashAndDone, 0});
  }
  return out;
}

std::optional<Move> World::good_move() const {
  using Kind = Move::Kind;
  if (hand_over_ && hand_over_->done() && !told_) return Move{Kind::kTell, 0};
  if (has_ended(watch_)) return Move{Kind::kExit, 0};
  if (has_ended(new_watch_)) return Move{Kind::kExit, 1};
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    const auto& process = processes_[i];
    if (!process.running && retiring_.count(process.name) > 0) return Move{Kind::kRetire, i};
    if (process.running && process.mute && !process.robbed) return Move{Kind::kSpeak, i};
    if (process.running && has_progress(process)) return Move{Kind::kProgress, i};
  }
  for (const auto& name : retiring_)
    if (find(name) == nullptr) return Move{Kind::kRetire, processes_.size()};
  if (!calls_.empty()) return Move{Kind::kAnswer, 0};
  // hawser leave that failed is asked for again.
  if (!wanted_ && machine_->phase() == Phase::kIdle) return Move{Kind::kStop, 0};
  if (settled()) return std::nullopt;
  if (timer_ || hand_over_timer_) return Move{Kind::kTick, 0};
  return std::nullopt;
}

void World::heal() {
  budget_.faults = budget_.crashes = 0;
  for (auto& process : processes_) process.stubborn = false;
}

bool World::settled() const {
  if (hand_over_ || !calls_.empty()) return false;
  if (!wanted_) return machine_->phase() == Phase::kStopped && running() == 0;
  if (machine_->phase() != Phase::kLive || running() != 1) return false;
  const auto* serving = find(machine_->facts().generation);
  return serving != nullptr && serving->serves() && serving->pid == machine_->facts().pid;
}

void World::apply(const Move& move) {
  using Kind = Move::Kind;
  switch (move.kind) {
    case Kind::kAnswer:
    case Kind::kFail:
    case Kind::kDoneButFail:
    case Kind::kRefuse: {
      if (move.kind != Kind::kAnswer && budget_.faults > 0) --budget_.faults;
      const Call call = calls_[move.index];
      calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(move.index));
      answer(call, move.kind);
      break;
    }
    case Kind::kTick:
      tick();
      break;
    case Kind::kTell:
      tell();
      break;
    case Kind::kRestart:
    case Kind::kStop:
    case Kind::kStart:
    case Kind::kCrash:
    case Kind::kCrashAndDone:
      operate(move);
      break;
    default:
      environment(move);
  }
  judge_numbers();
  forget_stale();
}

void World::operate(const Move& move) {
  using Kind = Move::Kind;
  switch (move.kind) {
    case Kind::kRestart:
      --budget_.hand_overs;
      return begin_hand_over(move.index);
    case Kind::kStop:
      if (budget_.stops > 0) --budget_.stops;
      wanted_ = false;
      return feed(event::Stop{milliseconds(budget_.stops % 2 == 0 ? 2000 : 0)});
    case Kind::kStart:
      --budget_.stops;
      wanted_ = true;
      return feed(event::Start{});
    default:
      --budget_.crashes;
      return crash(move.kind == Kind::kCrashAndDone);
  }
}

void World::environment(const Move& move) {
  using Kind = Move::Kind;
  if (move.kind == Kind::kRetire) {
    // The one at `index`, or the first that isn't known to the host any more.
    std::string name;
    if (move.index < processes_.size()) {
      name = processes_[move.index].name;
      processes_.erase(processes_.begin() + static_cast<std::ptrdiff_t>(move.index));
    } else {
      for (const auto& item : retiring_)
        if (find(item) == nullptr) name = item;
    }
    retiring_.erase(name);
    return feed(event::Retired{name});
  }
  if (move.kind == Kind::kExit) return watched(move.index == 0 ? watch_ : new_watch_);
  auto& process = processes_[move.index];
  switch (move.kind) {
    case Kind::kProgress:
      return progress(process);
    case Kind::kSpeak:
      process.mute = false;
      return;
    default:
      --budget_.faults;
  }
  if (move.kind == Kind::kDie) end(process, SIGSEGV);
  if (move.kind == Kind::kMute) process.mute = true;
  if (move.kind == Kind::kHang) process.hung = true;
  if (move.kind == Kind::kClose) process.closed = true;
  if (move.kind == Kind::kHarden) process.stubborn = true;
}

void World::watched(pid_t pid) {
  if (pid == new_watch_) {
    new_watch_ = 0;
    return feed(hand_over::NewEnded{});
  }
  watch_ = 0;
  if (hand_over_ && pid == machine_->facts().pid) return feed(hand_over::OldEnded{});
  feed(event::Exited{pid});
}

void World::tick() {
  const bool own = timer_ && (!hand_over_timer_ || timer_->at <= hand_over_timer_->at);
  auto& slot = own ? timer_ : hand_over_timer_;
  const Timer timer = *slot;
  slot.reset();
  now_ = std::max(now_, timer.at);
  if (own && timer.turn == machine_->turn()) feed(event::Woke{});
  if (!own && hand_over_ && timer.turn == hand_over_->turn()) run(timer.then);
}

void World::crash(bool done) {
  if (done)
    for (const auto& call : calls_) {
      if (call.kind == Call::Kind::kLaunch) (void)launch(call.target, Move::Kind::kAnswer);
      if (call.kind == Call::Kind::kSignal) (void)signal(call.target, call.signal, Move::Kind::kAnswer);
    }
  calls_.clear();
  timer_.reset();
  hand_over_timer_.reset();
  hand_over_.reset();
  told_ = true;
  watch_ = new_watch_ = 0;
  retiring_.clear();
  held_.clear();
  machine_.emplace(small_options());
  for (auto& process : processes_) process.known_good = false;
  feed(wanted_ ? SupervisionEvent(event::Start{}) : SupervisionEvent(event::Stop{}));
}

// ---- the machines, wired as supervisor_restart.cpp and replacement.cpp do it

void World::feed(SupervisionEvent event) {
  const auto before = std::string(phase_name(machine_->phase()));
  const auto actions = machine_->handle(std::move(event), now_);
  const auto after = std::string(phase_name(machine_->phase()));
  if (before != after) {
    phases_.emplace(before, after);
    timer_.reset();
  }
  for (const auto& action : actions) perform(action);
}

void World::perform(const SupervisionAction& action) {
  const auto& facts = machine_->facts();
  const auto is = [&action](auto kind) { return std::holds_alternative<decltype(kind)>(action); };
  const auto call = [this, &facts](Call::Kind kind, int number = 0, milliseconds wait = milliseconds(0)) {
    ask({kind, false, machine_->turn(), facts.generation, number, wait});
  };
  if (is(action::Observe{})) return call(Call::Kind::kObserve);
  if (is(action::Validate{})) return call(Call::Kind::kValidate);
  if (is(action::Launch{})) retiring_.erase(facts.generation);
  if (is(action::Launch{})) return call(Call::Kind::kLaunch);
  if (is(action::Probe{})) return call(Call::Kind::kProbe);
  if (is(action::ProbeData{})) return call(Call::Kind::kProbeData);
  if (is(action::BeginDrain{})) return call(Call::Kind::kDrain);
  if (is(action::Count{})) return call(Call::Kind::kCount);
  if (const auto* watch = std::get_if<action::WatchExit>(&action)) watch_ = watch->pid;
  if (const auto* deed = std::get_if<action::Signal>(&action)) {
    judge_signal(facts.generation, deed->number);
    return call(Call::Kind::kSignal, deed->number);
  }
  if (const auto* deed = std::get_if<action::Reap>(&action)) return call(Call::Kind::kReap, 0, deed->wait);
  if (const auto* deed = std::get_if<action::Wake>(&action)) timer_ = Timer{now_ + deed->after, machine_->turn(), {}};
  if (const auto* deed = std::get_if<action::Retire>(&action)) {
    retiring_.insert(deed->generation);
    if (auto* process = find(deed->generation); process != nullptr && deed->drain) {
      process->dismissed = true;
      process->known_good = false;  // a drain is one-way: it's lost for good, whatever becomes of the new one
    }
  }
  if (is(action::Live{})) judge_taken(facts.generation, facts.pid);
  // By hot restart and cold the old one is gone when the new one is LIVE: then there's only the way on.
  if (is(action::Replaced{}) && someone_else_serves(facts.generation)) judge_taken(facts.generation, facts.pid);
  if (is(action::GiveUp{})) return call(Call::Kind::kGiveUp);
  if (is(action::CallOffHandOver{}) && hand_over_) feed(hand_over::CallOff{"the proxy is to end"});
  if (is(action::Stopped{})) watch_ = 0;
}

void World::begin_hand_over(std::size_t kind) {
  HandOverOptions options;
  if (kind < kKinds.size()) options.request.kind = kKinds[kind];
  options.cold_allowed = true;
  options.canary = milliseconds(500);
  options.drain = milliseconds(500);
  const auto id = generation_id(machine_->facts().generation);
  if (!id) return;
  options.old_id = *id;
  options.old_pid = handing_over_pid_ = machine_->facts().pid;
  options.required_ports = kPorts;
  options.start_timeout = milliseconds(1500);
  options.wedge_after = milliseconds(500);
  options.ask_old = milliseconds(0);
  options.poll = milliseconds(500);
  options.end_wait = milliseconds(500);
  options.feed = true;
  options.can.hot_restart = options.can.side_by_side = options.can.drain = options.can.connection_count = true;
  options.can.waits_for_listeners = options.can.worker_request = options.can.data_path_probe = true;
  hand_over_.emplace(options);
  told_ = false;
  feed(event::HandOverBegun{});
  perform(hand_over_->begin(now_));
}

void World::feed(const HandOverEvent& event) {
  if (!hand_over_) return;
  const auto before = std::string(step_name(hand_over_->step()));
  const auto actions = hand_over_->handle(event, now_);
  const auto after = std::string(step_name(hand_over_->step()));
  if (before != after) steps_.emplace(before, after);
  perform(actions);
}

void World::perform(const std::vector<hand_over::Action>& actions) {
  for (const auto& action : actions) {
    if (action.deed == Deed::kReap || action.after.count() == 0)
      run(action);
    else
      hand_over_timer_ = Timer{now_ + action.after, hand_over_->turn(), action};
  }
  if (hand_over_->done()) hand_over_timer_.reset();
}

void World::run(const hand_over::Action& action) {
  const auto call = [this](Call::Kind kind, const std::string& target, int number = 0,
                           milliseconds wait = milliseconds(0)) {
    ask({kind, true, hand_over_->turn(), target, number, wait});
  };
  const std::string name = hand_over_->new_name();
  const std::string old = hand_over_->old_name();
  switch (action.deed) {
    case Deed::kObserve:
      return call(Call::Kind::kObserve, name);
    case Deed::kProbeOld:
      return call(Call::Kind::kProbe, old);
    case Deed::kInspectOld:
      return call(Call::Kind::kInspect, old);
    case Deed::kRepair:
      return call(Call::Kind::kRepair, old);
    case Deed::kSnapshot:
      return call(Call::Kind::kSnapshot, name);
    case Deed::kHold:
      held_.insert(name);
      return feed(HandOverEvent(hand_over::Held{Status()}));
    case Deed::kRelease:
      held_.erase(name);
      return;
    case Deed::kAskNew:
      return feed(HandOverEvent(hand_over::NewAnswered{Status()}));
    case Deed::kDrainOld:
      return call(Call::Kind::kDrain, old);
    case Deed::kCountOld:
      return call(Call::Kind::kCount, old);
    case Deed::kEndOld:
      judge_signal(old, SIGTERM);
      return call(Call::Kind::kSignal, old, SIGTERM);
    case Deed::kKillOld:
      judge_signal(old, SIGKILL);
      return call(Call::Kind::kSignal, old, SIGKILL);
    case Deed::kAskOld:
      return call(Call::Kind::kProbeData, old);
    case Deed::kInspectNew:
      return call(Call::Kind::kInspect, name);
    case Deed::kDrainNew:
      if (auto* process = find(name); process != nullptr) process->known_good = false;  // a drain is one-way
      return call(Call::Kind::kDrain, name);
    case Deed::kEndNew:
      judge_signal(name, SIGTERM);
      return call(Call::Kind::kSignal, name, SIGTERM);
    case Deed::kWait:
      return feed(HandOverEvent(hand_over::Waited{}));
    case Deed::kValidate:
      return call(Call::Kind::kValidate, name);
    case Deed::kLaunch:
      return call(Call::Kind::kLaunch, name);
    case Deed::kProbeNew:
      return call(Call::Kind::kProbe, name);
    case Deed::kKill:
      judge_signal(name, SIGKILL);
      return call(Call::Kind::kSignal, name, SIGKILL);
    case Deed::kReap:
      return call(Call::Kind::kReap, name, 0, action.after);
  }
}

void World::tell() {
  const HandOverOutcome outcome = hand_over_->outcome();
  if (!held_.empty()) violate(*held_.begin() + " is still held back when its hand-over is over");
  hand_over_.reset();
  hand_over_timer_.reset();
  new_watch_ = 0;
  told_ = true;
  std::erase_if(calls_, [](const Call& call) {
    return call.of_hand_over && call.kind != Call::Kind::kLaunch && call.kind != Call::Kind::kSignal;
  });
  if (outcome.launched) retiring_.erase(outcome.generation);
  feed(event::HandOverEnded{outcome, !kernel().empty()});
  if (outcome.old_ended) feed(event::Exited{handing_over_pid_});
}

bool World::stale(const Call& call) const {
  if (!call.of_hand_over) return call.turn != machine_->turn();
  return !hand_over_ || (call.kind != Call::Kind::kLaunch && call.turn != hand_over_->turn());
}

// One whose answer nobody waits for changes nothing, unless it is a deed.
void World::forget_stale() {
  const auto is_deed = [](const Call& item) {
    return item.kind == Call::Kind::kLaunch || item.kind == Call::Kind::kSignal || item.kind == Call::Kind::kReap ||
           item.kind == Call::Kind::kDrain || item.kind == Call::Kind::kRepair;
  };
  std::erase_if(calls_, [&](const Call& item) { return stale(item) && !is_deed(item); });
}

// The same question once more changes nothing.
void World::ask(Call call) {
  forget_stale();
  const auto alike = [&](const Call& item) {
    return item.kind == call.kind && item.of_hand_over == call.of_hand_over && item.target == call.target &&
           item.signal == call.signal && stale(item) == stale(call);
  };
  if (std::none_of(calls_.begin(), calls_.end(), alike)) calls_.push_back(std::move(call));
}

}  // namespace hawser::proxy::model
