// SPDX-License-Identifier: Apache-2.0
// What comes of what the machines of the model ask for. The rest is in model_world.cpp.
#include <algorithm>
#include <csignal>

#include "model_world.h"
#include "proxy/generation_name.h"

namespace hawser::proxy::model {
namespace {

using Stage = Process::Stage;

}  // namespace

// ---- answers

void World::answer(const Call& call, Move::Kind how) {
  if (call.of_hand_over)
    answer_hand_over(call, how);
  else
    answer_own(call, how);
}

void World::probed(const Call& call, const Result<ProbeResult>& result) {
  auto* process = find(call.target);
  if (process == nullptr) return;
  process->known_good = result && result->state == ProxyState::kLive && result->ready && !result->listeners.empty() &&
                        result->listeners.front().bound;
}

void World::answer_own(const Call& call, Move::Kind how) {
  // What was asked for is done even if nobody waits for the answer any more.
  const bool late = stale(call);
  const auto give = [this, late](auto event) {
    if (!late) feed(SupervisionEvent(std::move(event)));
  };
  switch (call.kind) {
    case Call::Kind::kObserve:
      return give(event::Observed{observed(how)});
    case Call::Kind::kValidate:
      if (how == Move::Kind::kFail) return give(event::Validated{failed()});
      return give(event::Validated{Validation{how != Move::Kind::kRefuse, "", "1.40.0"}});
    case Call::Kind::kLaunch:
      return give(event::Started{launch(call.target, how)});
    case Call::Kind::kProbe: {
      const auto seen = look(call.target, how);
      if (!late) probed(call, seen);
      return give(event::Probed{seen, seen ? std::vector<Listener>() : kernel()});
    }
    case Call::Kind::kInspect:
    case Call::Kind::kSnapshot:
    case Call::Kind::kRepair:
      return;
    case Call::Kind::kProbeData:
      return give(event::DataProbed{data_path(how)});
    case Call::Kind::kGiveUp:
      return give(event::GivenUp{how == Move::Kind::kFail ? Status(failed()) : Status()});
    case Call::Kind::kDrain:
      if (how == Move::Kind::kFail) return give(event::DrainBegun{failed()});
      if (auto* process = find(call.target); process != nullptr) process->closed = true;
      return give(event::DrainBegun{Status()});
    case Call::Kind::kCount:
      if (how == Move::Kind::kFail) return give(event::Counted{failed()});
      return give(event::Counted{std::uint64_t{0}});
    case Call::Kind::kSignal:
      return give(event::Signalled{signal(call.target, call.signal, how)});
    case Call::Kind::kReap:
      return give(event::Reaped{reap(call, how)});
  }
}

void World::answer_hand_over(const Call& call, Move::Kind how) {
  const bool late = stale(call);
  const auto give = [this, late](auto event) {
    if (!late) feed(HandOverEvent(std::move(event)));
  };
  switch (call.kind) {
    case Call::Kind::kObserve:
      return give(hand_over::Observed{observed(how)});
    case Call::Kind::kValidate:
      if (how == Move::Kind::kFail) return give(hand_over::Validated{failed()});
      return give(hand_over::Validated{Validation{how != Move::Kind::kRefuse, "", "1.40.0"}});
    case Call::Kind::kLaunch: {
      const auto started = launch(call.target, how);
      if (started && !late) new_watch_ = started->pid;
      return give(hand_over::Launched{started});
    }
    case Call::Kind::kProbe: {
      const auto seen = look(call.target, how);
      if (late) return;
      probed(call, seen);
      if (call.target == hand_over_->old_name()) return feed(hand_over::OldProbed{seen});
      return feed(hand_over::NewProbed{seen});
    }
    case Call::Kind::kInspect: {
      const bool answers = static_cast<bool>(look(call.target, how));
      Inspection seen;
      seen.workers = true;
      const auto result = answers ? Result<Inspection>(seen) : Result<Inspection>(failed());
      if (late) return;
      if (call.target == hand_over_->old_name()) return feed(HandOverEvent(hand_over::OldInspected{result}));
      return feed(HandOverEvent(hand_over::NewInspected{result}));
    }
    case Call::Kind::kSnapshot:
      if (how != Move::Kind::kFail) return give(hand_over::SnapshotSeen{ConfigFeed::Snapshot{}});
      now_ += milliseconds(3000);  // what is missing doesn't come
      return give(hand_over::SnapshotSeen{ConfigFeed::Snapshot{"clusters", "", false}});
    case Call::Kind::kRepair:
      return give(hand_over::Repaired{repair(call.target, how)});
    case Call::Kind::kDrain:
      if (how == Move::Kind::kFail) return give(hand_over::Drained{failed()});
      // Only the new one's listeners are closed by that.
      if (auto* process = find(call.target); process != nullptr && hand_over_ && call.target == hand_over_->new_name())
        process->closed = true;
      return give(hand_over::Drained{Status()});
    case Call::Kind::kCount:
      if (how == Move::Kind::kFail) return give(hand_over::Counted{failed()});
      return give(hand_over::Counted{std::uint64_t{0}});
    case Call::Kind::kSignal: {
      const auto sent = signal(call.target, call.signal, how);
      // The end of the old one is told by the kernel.
      if (late || call.target == hand_over_->old_name()) return;
      return feed(HandOverEvent(hand_over::Killed{sent}));
    }
    case Call::Kind::kReap:
      return give(hand_over::Reaped{reap(call, how)});
    case Call::Kind::kProbeData:
      return give(hand_over::OldAnswered{data_path(how)});
    case Call::Kind::kGiveUp:
      return;
  }
}

// ---- what a host and a driver answer

Result<std::vector<HostedGeneration>> World::observed(Move::Kind how) const {
  if (how == Move::Kind::kFail) return failed();
  std::vector<HostedGeneration> out;
  for (const auto& process : processes_)
    out.push_back({process.name, process.pid, process.running, process.status, "5ha", {}});
  return out;
}

Result<StartedGeneration> World::launch(const std::string& name, Move::Kind how) {
  if (how == Move::Kind::kFail) return failed();
  if (auto* old = find(name); old != nullptr) {
    if (old->running) return Error(Code::kAlreadyExists, "HWS-BR-021", name + " runs already", "");
    std::erase_if(processes_, [&name](const Process& item) { return item.name == name; });
  }
  Process process;
  process.name = name;
  process.pid = ++last_pid_;
  processes_.push_back(process);
  ++launches_;
  if (how == Move::Kind::kDoneButFail) return failed();
  return StartedGeneration{process.pid, "5ha"};
}

Status World::signal(const std::string& name, int number, Move::Kind how) {
  if (how == Move::Kind::kFail) return failed();
  auto* process = find(name);
  if (process == nullptr) return Error(Code::kNotFound, "HWS-BR-022", "none", "");
  if (!process->running || process->stubborn || (process->hung && number != SIGKILL)) return {};
  const std::string of = process->name;
  const bool early = process->stage == Stage::kAttached;
  auto* parent = parent_of(of);
  end(*process, number == SIGTERM ? 0 : number);
  // On SIGTERM a child tells its parent to end.
  if (number == SIGTERM && parent != nullptr && parent->running && !parent->hung) {
    if (early) violate(of + " was ended by SIGTERM and took " + parent->name + " along");
    end(*parent, 0);
  }
  return {};
}

// Refused while a successor is on its way.
Status World::repair(const std::string& name, Move::Kind how) {
  auto* process = find(name);
  if (how == Move::Kind::kFail || process == nullptr || child_of(name) != nullptr) return failed();
  process->marked = false;
  return {};
}

Result<ReapedGeneration> World::reap(const Call& call, Move::Kind how) {
  if (how == Move::Kind::kFail) return failed();
  const auto* process = find(call.target);
  if (process == nullptr) return Error(Code::kNotFound, "HWS-BR-022", "none", "");
  if (process->running) {
    now_ += call.wait;
    return ReapedGeneration{false, -1};
  }
  const int status = process->status;
  std::erase_if(processes_, [&call](const Process& item) { return item.name == call.target; });
  return ReapedGeneration{true, status};
}

Result<ProbeResult> World::look(const std::string& name, Move::Kind how) const {
  const auto* process = find(name);
  if (const auto* parent = parent_of(name); parent != nullptr && parent->hung) return failed();  // it waits for it
  if (how == Move::Kind::kFail || process == nullptr || !process->running || process->mute || process->hung)
    return failed();
  ProbeResult out;
  out.version = "1.40.0";
  out.concurrency = 2;
  out.epoch = epoch_of(name);
  out.initializing = process->marked;
  if (process->stage == Stage::kAttached) out.state = ProxyState::kInitializing;
  if (process->stage != Stage::kLive) return out;
  out.state = ProxyState::kLive;
  out.ready = true;
  out.listeners.push_back({"outbound", "0.0.0.0", kPorts.front(), !process->closed});
  return out;
}

Status World::data_path(Move::Kind how) {
  if (how != Move::Kind::kFail && kernel_serves() > 0) return {};
  now_ += milliseconds(500);
  return Error(Code::kDeadlineExceeded, "HWS-PX-041", "no answer", "");
}

std::vector<Listener> World::kernel() const {
  if (std::none_of(processes_.begin(), processes_.end(), [](const Process& item) { return item.has_sockets(); }))
    return {};
  return {{"", "0.0.0.0", kPorts.front(), true}};
}

std::ptrdiff_t World::kernel_serves() const {
  return std::count_if(processes_.begin(), processes_.end(), [](const Process& item) { return item.serves(); });
}

}  // namespace hawser::proxy::model
