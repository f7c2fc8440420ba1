// SPDX-License-Identifier: Apache-2.0
// The processes of the model, what must never be, and how states are told apart. The rest is in model_world.cpp.
#include <algorithm>
#include <csignal>

#include "fingerprint.h"
#include "model_world.h"
#include "proxy/generation_name.h"

namespace hawser::proxy::model {
namespace {

using Stage = Process::Stage;

constexpr auto kStep = milliseconds(100);

}  // namespace

// ---- processes

bool World::has_progress(const Process& process) const {
  if (process.dismissed && !process.stubborn && retiring_.count(process.name) > 0) return true;
  if (process.hung) return false;
  if (process.orphan) return true;
  if (process.stage == Stage::kAttached && held_.count(process.name) > 0) return false;
  if (process.stage == Stage::kStarting || process.stage == Stage::kAttached) return true;
  const auto* child = child_of(process.name);
  return process.stage == Stage::kDrained && child != nullptr && child->stage == Stage::kLive;
}

void World::progress(Process& process) {
  if (process.orphan && !process.hung) return end(process, SIGABRT);
  if (process.dismissed) {
    if (process.closed) return end(process, 0);
    process.closed = true;
    return;
  }
  if (process.stage == Stage::kDrained) {
    process.running = false;
    process.status = 0;
    return;
  }
  auto* parent = parent_of(process.name);
  const bool alone = epoch_of(process.name) == 0;
  if (process.stage == Stage::kStarting && !alone) {
    if (parent == nullptr || parent->stage != Stage::kLive || parent->marked) return end(process, 1 << 8);
    if (parent->hung) {
      process.hung = true;  // it waits for an answer for ever
      return;
    }
    parent->mute = parent->robbed = parent->marked = true;
    process.stage = Stage::kAttached;
    return;
  }
  process.stage = Stage::kLive;
  if (parent != nullptr && !alone) {
    parent->stage = Stage::kDrained;
    parent->known_good = false;
  }
}

void World::end(Process& process, int status) {
  process.running = false;
  process.status = status;
  if (process.stage == Stage::kStarting) return;
  for (auto& other : processes_)
    if (other.running && epoch_of(other.name) == epoch_of(process.name) + 1 && other.stage != Stage::kStarting)
      other.orphan = true;
}

bool World::has_ended(pid_t pid) const {
  return pid != 0 && std::none_of(processes_.begin(), processes_.end(),
                                  [pid](const Process& item) { return item.pid == pid && item.running; });
}

Process* World::find(const std::string& name) {
  return const_cast<Process*>(std::as_const(*this).find(name));
}

const Process* World::find(const std::string& name) const {
  const auto found =
      std::find_if(processes_.begin(), processes_.end(), [&name](const Process& item) { return item.name == name; });
  return found == processes_.end() ? nullptr : &*found;
}

Process* World::parent_of(const std::string& name) {
  return const_cast<Process*>(std::as_const(*this).parent_of(name));
}

const Process* World::parent_of(const std::string& name) const {
  const auto id = generation_id(name);
  if (!id || id->epoch == 0) return nullptr;
  const auto* parent = find(GenerationId{id->family, id->epoch - 1}.text());
  return parent != nullptr && parent->running ? parent : nullptr;
}

const Process* World::child_of(const std::string& name) const {
  const auto id = generation_id(name);
  if (!id) return nullptr;
  const auto* child = find(GenerationId{id->family, id->epoch + 1}.text());
  return child != nullptr && child->running ? child : nullptr;
}

std::size_t World::running() const {
  return static_cast<std::size_t>(
      std::count_if(processes_.begin(), processes_.end(), [](const Process& item) { return item.running; }));
}

// ---- what must never be

void World::violate(const std::string& what) {
  if (broken_.empty()) broken_ = what;
}

void World::judge_numbers() {
  if (running() > 2) violate(std::to_string(running()) + " generations run");
}

void World::judge_signal(const std::string& name, int number) {
  const auto* process = find(name);
  if (process == nullptr || !process->running) return;
  const auto* child = child_of(name);
  if (process->stage == Stage::kDrained && child != nullptr && child->serves())
    violate("a signal to " + name + ", which drains under " + child->name);
  if (wanted_ && process->dismissed && retiring_.count(name) > 0)
    violate("a signal to " + name + ", which drains by itself");
  const bool asked_for =
      hand_over_ && hand_over_->kind() == HandOverKind::kPlannedCold && name == hand_over_->old_name();
  if (wanted_ && !asked_for && process->known_good && process->serves() && !someone_else_serves(name))
    violate("signal " + std::to_string(number) + " to " + name + ", which serves and is known to");
}

bool World::someone_else_serves(const std::string& name) const {
  return std::any_of(processes_.begin(), processes_.end(),
                     [&name](const Process& item) { return item.name != name && item.known_good && item.serves(); });
}

void World::judge_taken(const std::string& name, pid_t pid) {
  const auto* process = find(name);
  if (process == nullptr || process->pid != pid || !process->running) return;  // it has just ended
  // One that can't be asked is judged by its sockets, which are its own or its child's.
  if (process->known_good || process->has_sockets() || !look(name, Move::Kind::kAnswer)) return;
  violate(name + " was taken, but didn't pass its gates");
}

// ---- to tell states apart

int World::index_of(pid_t pid) const {
  for (std::size_t i = 0; i < processes_.size(); ++i)
    if (processes_[i].pid == pid) return static_cast<int>(i);
  return pid == 0 ? -1 : -2;
}

std::string World::fingerprint(bool with_budget) const {
  const auto pid = [this](pid_t value) { return index_of(value); };
  std::string out = Fingerprint::of(*machine_, now_, pid);
  out += '|';
  if (hand_over_) out += Fingerprint::of(*hand_over_, now_, pid);
  out += '|';
  const auto add = [&out](auto value) {
    out += std::to_string(static_cast<long long>(value));
    out += ',';
  };
  for (const auto& item : processes_) {
    out += item.name;
    add(static_cast<int>(item.stage));
    add((item.running ? 1 : 0) | (item.mute ? 2 : 0) | (item.robbed ? 4 : 0) | (item.marked ? 8 : 0) |
        (item.closed ? 16 : 0) | (item.stubborn ? 32 : 0) | (item.orphan ? 64 : 0) | (item.known_good ? 128 : 0) |
        (item.hung ? 256 : 0) | (item.dismissed ? 512 : 0));
  }
  out += '|' + open_calls() + '|';
  const auto left = [this](const Timer& timer) { return std::max(timer.at - now_, Monotonic::duration(0)) / kStep; };
  add(timer_ ? left(*timer_) : -1);
  if (hand_over_timer_) {
    add(static_cast<int>(hand_over_timer_->then.deed));
    add(left(*hand_over_timer_));
  }
  add(index_of(watch_));
  add(index_of(new_watch_));
  add((wanted_ ? 1 : 0) | (told_ ? 2 : 0) | (watch_ == machine_->facts().pid ? 4 : 0));
  for (const auto& name : retiring_) out += name;
  for (const auto& name : held_) out += '!' + name;
  if (!with_budget) return out;
  out += '|';
  for (const auto chances : {budget_.faults, budget_.hand_overs, budget_.crashes, budget_.stops}) add(chances);
  return out;
}

// In whatever order they were asked.
std::string World::open_calls() const {
  std::vector<std::string> all;
  for (const auto& call : calls_)
    all.push_back(std::to_string(static_cast<int>(call.kind)) + (call.of_hand_over ? "h" : "") +
                  (stale(call) ? "late" : "") + call.target + "," + std::to_string(call.signal) + "," +
                  std::to_string(call.wait.count()));
  std::sort(all.begin(), all.end());
  std::string out;
  for (const auto& call : all) out += call + ";";
  return out;
}

std::string World::describe() const {
  std::string out = std::string(phase_name(machine_->phase())) + " " + machine_->facts().generation;
  if (hand_over_) out += " handing over, " + std::string(step_name(hand_over_->step()));
  for (const auto& item : processes_) {
    static const char* const kStages[] = {"starting", "attached", "live", "drained"};
    out += "; " + item.name + (item.running ? " " : " ended ") + kStages[static_cast<int>(item.stage)];
    if (item.mute) out += " mute";
    if (item.hung) out += " hung";
    if (item.closed) out += " closed";
    if (item.stubborn) out += " stubborn";
    if (item.orphan) out += " orphan";
  }
  for (const auto& call : calls_)
    out += "; call " + std::to_string(static_cast<int>(call.kind)) + (call.of_hand_over ? "h " : " ") + call.target;
  if (!retiring_.empty()) out += "; retiring " + *retiring_.begin();
  return out;
}

}  // namespace hawser::proxy::model
