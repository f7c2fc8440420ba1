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

}  // namespace

// The newest that runs; else the newest that ended, which is to be reaped. The others that ended are reaped aside.
const HostedGeneration* Supervision::choose(const std::vector<HostedGeneration>& all) {
  std::vector<const HostedGeneration*> order;
  order.reserve(all.size());
  for (const auto& item : all) order.push_back(&item);
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
  if (retired_.insert(generation).second || drain) act(action::Retire{generation, drain});
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
  if (!ended.outcome.error)
    replace(ended.outcome, now);
  else
    keep(ended.outcome, ended.listening);
  alive(now);
  if (!stopping_ || phase_ != Phase::kLive) return;
  if (leftover_) return observe();  // the newer one, if it runs, has to end first
  drain(now);
}

void Supervision::replace(const HandOverOutcome& outcome, Monotonic now) {
  retire(facts_.generation, outcome.kind == HandOverKind::kSideBySide && !outcome.old_ended);
  facts_.generation = outcome.generation;
  facts_.pid = outcome.pid;
  retired_.erase(facts_.generation);
  facts_.binary_sha256 = outcome.binary_sha256;
  facts_.adopted = false;
  budget_.live(facts_.binary_sha256, now);
  learn(outcome.probe);
  live_since_ = now;
  lost_gates_ = 0;
  unasked_ = false;
  act(action::WatchExit{facts_.pid});
  report(HealthState::kOk, facts_.generation + " is LIVE, by hand-over (pid " + std::to_string(facts_.pid) +
                               ", Envoy " + facts_.version + ")");
  act(action::Replaced{});
  act(action::Wake{options_.watch_poll});
}

void Supervision::keep(const HandOverOutcome& outcome, bool listening) {
  unasked_ = outcome.old_mute;
  leftover_ = true;
  // The new one was LIVE for a moment, and is gone: the old one has closed its sockets by then.
  if (outcome.old_mute && !listening && !outcome.old_ended) {
    act(action::Down{facts_.generation + " has handed over to one that is gone"});
    return end(SIGKILL);
  }
  if (unasked_) report(HealthState::kDegraded, cannot_ask().message(), cannot_ask());
  act(action::Observe{});  // is the new one gone?
  act(action::Wake{options_.watch_poll});
}

Error Supervision::cannot_ask() const {
  return {Code::kUnavailable, "HWS-PX-025",
          facts_.generation + " (pid " + std::to_string(facts_.pid) +
              ") serves, but its admin interface is gone, as after a hand-over that failed: no statistics, no restart",
          "hawser proxy restart --hand-over planned-cold puts it right (connections are refused for under a second)"};
}

// ---- no answer from one that was found running

bool Supervision::serves_by(const std::vector<Listener>& kernel) const {
  return std::all_of(options_.required_ports.begin(), options_.required_ports.end(), [&kernel](std::uint16_t port) {
    return std::any_of(kernel.begin(), kernel.end(), [port](const Listener& item) { return item.port == port; });
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
