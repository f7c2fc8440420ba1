// SPDX-License-Identifier: Apache-2.0
// One generation takes over from another: by hand_over.h, or found so after a crash of ours.
#include <algorithm>
#include <csignal>
#include <utility>

#include "proxy/generation_name.h"
#include "proxy/supervision.h"

namespace hawser::proxy {
namespace {

constexpr auto kMuteFor = std::chrono::seconds(2);

// Is the one newer than the other? Within a family the epoch tells. Between families the time of the start does, which
// is known in seconds; of two in the same second the pid says it, which the kernel gives in turn. Names that we didn't
// give come first.
bool newer(const HostedGeneration& left, const HostedGeneration& right) {
  const auto mine = generation_id(left.name);
  const auto theirs = generation_id(right.name);
  if (!mine || !theirs) return mine.has_value() && !theirs.has_value();
  if (mine->family == theirs->family) return mine->epoch > theirs->epoch;
  return std::pair(left.started_at, left.pid) > std::pair(right.started_at, right.pid);
}

// By hot restart one that ends before it's LIVE may do so for its parent's sake. One that isn't LIVE in time may lack
// what others owe it; where nothing serves any more it isn't tried again all the same.
bool its_own_fault(const HandOverOutcome& outcome) {
  const std::string& id = outcome.error->id();
  if (outcome.new_ended) return outcome.kind != HandOverKind::kHotRestart || id == "HWS-PX-032";
  return outcome.kind == HandOverKind::kPlannedCold && id == "HWS-PX-024";
}

// An old one that ended by itself before anything was tried wasn't.
bool ended_for_it(const HandOverOutcome& outcome) {
  return outcome.kind == HandOverKind::kPlannedCold && outcome.old_ended && outcome.error->id() != "HWS-PX-026";
}

}  // namespace

// Whoever drains by itself, or has ended after it had handed over, is seen off aside. But when all are to end, all are
// ended here.
bool Supervision::seen_off(const HostedGeneration& found) const {
  const auto entry = retired_.find(found.name);
  return !stopping_ && entry != retired_.end() && (entry->second || !found.running);
}

// The newest that runs; else the newest that ended, which is to be reaped. The others that ended are reaped aside.
const HostedGeneration* Supervision::choose(const std::vector<HostedGeneration>& all) {
  std::vector<const HostedGeneration*> order;
  order.reserve(all.size());
  for (const auto& item : all)
    if (!seen_off(item)) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](const auto* left, const auto* right) {
    if (left->running != right->running) return left->running;
    return newer(*left, *right);
  });
  if (order.empty()) return nullptr;
  elder_.clear();
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (!order[i]->running) {
      if (order.front()->running) retire(order[i]->name, false);
    } else if (elder_.empty() && retired_.count(order[i]->name) == 0) {
      elder_ = order[i]->name;
    }
  }
  return order.front();
}

void Supervision::retire(const std::string& generation, bool drain) {
  // A name comes again: an earlier one of it may still be waited for, and this one is to be drained all the same.
  const bool fresh = retired_.insert_or_assign(generation, drain).second;
  if (fresh || drain) act(action::Retire{generation, drain});
}

// Of a family of which nothing is left: an epoch 0 makes the family's shared memory anew.
std::string Supervision::cold_name(const std::vector<HostedGeneration>& all) const {
  const auto mine = generation_id(options_.generation);
  const bool taken = mine && std::any_of(all.begin(), all.end(), [&mine](const HostedGeneration& item) {
                       const auto id = generation_id(item.name);
                       return id && id->family == mine->family;
                     });
  return taken ? GenerationId{mine->family == 1 ? 2U : 1U, 0}.text() : options_.generation;
}

// One that is LIVE without its listeners, beside one that drains: they can't share their ports after all. False:
// there's none beside it.
bool Supervision::end_beside() {
  bool any = false;
  for (auto& [name, beside] : retired_) any = std::exchange(beside, false) || any;
  return any;
}

bool Supervision::independent(const std::string& other) const {
  const auto mine = generation_id(facts_.generation);
  const auto theirs = generation_id(other);
  return mine && theirs && mine->family != theirs->family;
}

void Supervision::on(const event::Retired& retired, Monotonic) {
  retired_.erase(retired.generation);
}

// ---- handing over

void Supervision::on(const event::HandOverBegun&, Monotonic) {
  if (phase_ != Phase::kLive) return;
  enter(Phase::kHandingOver);
}

void Supervision::on(const event::HandOverEnded& ended, Monotonic now) {
  if (phase_ != Phase::kHandingOver) return;
  enter(Phase::kLive);
  if (ended.outcome.launched) retired_.erase(ended.outcome.generation);  // the name has come again
  if (!ended.outcome.error)
    replace(ended.outcome, now);
  else
    keep(ended.outcome, ended.listening, now);
  alive(now);
  if (!stopping_ || phase_ != Phase::kLive) return;
  if (leftover_) return observe();  // the newer one, if it runs, has to end first
  drain(now);
}

void Supervision::replace(const HandOverOutcome& outcome, Monotonic now) {
  if (facts_.binary_sha256 != outcome.binary_sha256)
    if (const std::string good = only_good(); !good.empty())
      act(action::Trust{good, "it served until another binary took over, and none is known to be better"});
  way_back_.clear();
  remark_.clear();
  retire(facts_.generation, outcome.kind == HandOverKind::kSideBySide && !outcome.old_ended);
  facts_.generation = outcome.generation;
  facts_.pid = outcome.pid;
  facts_.binary_sha256 = outcome.binary_sha256;
  facts_.adopted = false;
  budget_.live(facts_.binary_sha256, now);
  learn(outcome.probe);
  live_since_ = now;
  lost_gates_ = 0;
  unasked_ = false;
  act(action::WatchExit{facts_.pid});
  report_live(", by hand-over");
  act(action::Replaced{});
  act(action::Wake{options_.watch_poll});
}

void Supervision::keep(const HandOverOutcome& outcome, bool listening, Monotonic now) {
  blame(outcome);
  if (ended_for_it(outcome)) {
    roll_back(outcome, now);
    retire(facts_.generation, false);
    return observe();
  }
  if (outcome.old_hung && !outcome.old_ended) return end_hung(outcome.error->message(), now);
  unasked_ = outcome.old_mute;
  leftover_ = true;
  // The new one was LIVE for a moment, and is gone: the old one has closed its sockets by then.
  if (outcome.old_mute && !listening && !outcome.old_ended) {
    roll_back(outcome, now);
    return end(SIGKILL);
  }
  if (unasked_) report(HealthState::kDegraded, cannot_ask().message(), cannot_ask());
  act(action::Observe{});  // is the new one gone?
  act(action::Wake{options_.watch_poll});
}

// The one that serves now, if no binary is known to have served well: on a young store the only way back.
std::string Supervision::only_good() {
  if (facts_.binary_sha256.empty() || budget_.knows_good()) return {};
  budget_.trust(facts_.binary_sha256);
  return facts_.binary_sha256;
}

void Supervision::blame(const HandOverOutcome& outcome) {
  const std::string& binary = outcome.binary_sha256;
  if (binary.empty() || binary == facts_.binary_sha256 || !its_own_fault(outcome)) return;
  act(action::GiveUp{binary, outcome.error->message(), only_good()});
}

// What was known to serve is better than another try.
void Supervision::roll_back(const HandOverOutcome& outcome, Monotonic now) {
  const std::string detail =
      facts_.generation + " made way for " + outcome.generation + ", which failed: " + outcome.error->message();
  announce_down(detail, now);
  if (stopping_) return;
  way_back_ = facts_.binary_sha256;
  chosen_ = false;
  remark_ = ": what served before " + outcome.generation + ", which failed";
  const Error error(Code::kUnavailable, "HWS-PX-044", detail + "; what served before is started again",
                    "hawser proxy history tells more, as does its log");
  report(HealthState::kDegraded, error.message(), error);
  act(action::RolledBack{"hand_over"});
}

Error Supervision::cannot_ask() const {
  return {Code::kUnavailable, "HWS-PX-025",
          facts_.generation + " (pid " + std::to_string(facts_.pid) +
              ") serves, but its admin interface is gone, as after a hand-over that failed: no statistics, no restart",
          "hawser proxy restart --hand-over planned-cold puts it right (connections are refused for under a second)"};
}

// ---- no answer from one that was found running

bool Supervision::serves_by(const std::vector<Listener>& kernel) const {
  return std::all_of(options_.required_ports.begin(), options_.required_ports.end(), [&, this](std::uint16_t port) {
    return excused(facts_.pid, port) ||
           std::any_of(kernel.begin(), kernel.end(), [port](const Listener& item) { return item.port == port; });
  });
}

// Either an attempt to replace it has taken its admin interface, or its main thread hangs. Its sockets tell whether it
// serves: nobody else has these ports. One that is still starting, or waits for a predecessor, has none.
void Supervision::mute(const event::Probed& probed, Monotonic now) {
  const Error& error = probed.result.error();
  if (!mute_since_) mute_since_ = now;
  const bool long_mute = now - warm_since_ >= options_.start_timeout && now - *mute_since_ >= options_.start_timeout;
  const bool found_so = facts_.adopted && now - *mute_since_ >= kMuteFor;
  if (elder_.empty() && (found_so || long_mute) && serves_by(probed.kernel)) {
    facts_.listeners = probed.kernel;
    unasked_ = true;
    return go_live(now);
  }
  // It outlived its successor and accepts nothing any more, or it hangs in its start.
  if (elder_.empty() && generation_id(facts_.generation) && long_mute && !serves_by(probed.kernel)) return end(SIGKILL);
  not_yet(error.message(), false, now);
}

}  // namespace hawser::proxy
