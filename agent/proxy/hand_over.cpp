// SPDX-License-Identifier: Apache-2.0
// The way up to the start of the new one. The choice and the gates are in hand_over_gates.cpp, what concerns the new
// one's configuration in hand_over_config.cpp, the rest in hand_over_new.cpp.
#include "proxy/hand_over.h"

#include <utility>

namespace hawser::proxy {

using hand_over::Deed;

HandOver::HandOver(HandOverOptions options) : options_(std::move(options)) {
  take(options_.request.kind.value_or(HandOverKind::kHotRestart), "it was asked for");
}

// Side by side and cold: one of two families, the one that doesn't run.
void HandOver::take(HandOverKind kind, std::string why) {
  outcome_.kind = kind;
  outcome_.why = std::move(why);
  const GenerationId& old = options_.old_id;
  const GenerationId id = kind == HandOverKind::kHotRestart ? GenerationId{old.family, old.epoch + 1}
                                                            : GenerationId{old.family == 1 ? 2U : 1U, 0};
  outcome_.generation = id.text();
}

std::string_view step_name(HandOver::Step step) {
  static constexpr std::string_view kNames[] = {"LOOKING",  "PROVING", "INSPECTING", "REPAIRING",  "VALIDATING",
                                                "SNAPSHOT", "HOLDING", "DRAINING",   "ENDING_OLD", "LAUNCHING",
                                                "WARMING",  "VETTING", "CHECKING",   "CANARY",     "LEAVING",
                                                "KILLING",  "REAPING", "AFTERMATH",  "DONE"};
  return kNames[static_cast<std::size_t>(step)];
}

std::vector<hand_over::Action> HandOver::begin(Monotonic now) {
  out_.clear();
  gate_since_ = now;
  act(Deed::kObserve);
  return std::move(out_);
}

std::vector<hand_over::Action> HandOver::handle(const HandOverEvent& event, Monotonic now) {
  out_.clear();
  if (step_ != Step::kDone) std::visit([this, now](const auto& item) { on(item, now); }, event);
  return std::move(out_);
}

void HandOver::enter(Step step) {
  step_ = step;
  ++turn_;
  failures_ = 0;
}

void HandOver::act(Deed deed, std::chrono::milliseconds after) {
  out_.push_back({deed, after});
}

void HandOver::finish(std::optional<Error> error) {
  release();
  enter(Step::kDone);
  outcome_.error = std::move(error);
}

bool HandOver::may_be_called_off() const {
  switch (step_) {
    case Step::kLooking:
    case Step::kProving:
    case Step::kInspecting:
    case Step::kRepairing:
    case Step::kValidating:
    case Step::kSnapshot:
    case Step::kHolding:
    case Step::kVetting:
      return true;
    case Step::kLaunching:
    case Step::kWarming:
      return !is(HandOverKind::kPlannedCold);
    case Step::kChecking:
    case Step::kCanary:
      return is(HandOverKind::kSideBySide);
    case Step::kDraining:
    case Step::kEndingOld:
    case Step::kLeaving:
    case Step::kKilling:
    case Step::kReaping:
    case Step::kAftermath:
    case Step::kDone:
      return false;
  }
  return false;
}

// ---- the old one

void HandOver::on(const hand_over::Observed& observed, Monotonic now) {
  if (step_ != Step::kLooking) return;
  if (!observed.result) return finish(observed.result.error());
  if (options_.room) options_.room->limit = observed.memory_max;
  bool old_runs = false;
  std::optional<Error> error;
  for (const auto& found : *observed.result) {
    if (!found.running) continue;
    if (found.name == old_name() && found.pid == options_.old_pid)
      old_runs = true;
    else if (!error)
      error = Error(Code::kFailedPrecondition, "HWS-PX-021",
                    found.name + " (pid " + std::to_string(found.pid) + ") still runs",
                    "try again when it has ended; proxy.parent_shutdown bounds how long a predecessor stays");
  }
  if (!old_runs)
    return finish(
        Error(Code::kFailedPrecondition, "HWS-PX-021", old_name() + " doesn't run any more", "hawser status"));
  if (!gate("predecessor", old_name(), std::move(error), "no other generation runs", now)) return;
  if (!seldom_enough(now)) return;
  enter(Step::kProving);
  act(Deed::kProbeOld);
}

void HandOver::on(const hand_over::OldProbed& probed, Monotonic now) {
  if (step_ == Step::kAftermath) return aftermath(probed.result);
  if (step_ != Step::kProving) return;
  const auto trouble = trouble_with_old(probed.result);
  if (probed.result && !trouble) old_ = *probed.result;
  note("ready", old_name(), !trouble, trouble ? trouble->message() : "LIVE and ready", now);
  if (trouble) {
    // One that can't hand over can be ended all the same.
    if (is(HandOverKind::kPlannedCold)) return validate(now);
    if (options_.request.kind || !options_.cold_allowed) {
      if (!options_.request.plan) return finish(*trouble);
      if (!refusal_) refusal_ = *trouble;
      return finish(refusal_);
    }
    take(HandOverKind::kPlannedCold, trouble->message());
    return validate(now);
  }
  enter(Step::kInspecting);
  act(Deed::kInspectOld);
}

void HandOver::on(const hand_over::OldInspected& inspected, Monotonic now) {
  if (step_ != Step::kInspecting) return;
  if (inspected.result) old_inspection_ = *inspected.result;
  if (choose(now)) validate(now);
}

void HandOver::on(const hand_over::Repaired& repaired, Monotonic now) {
  const bool gone = static_cast<bool>(repaired.result);
  if (step_ == Step::kAftermath) {
    if (gone && !outcome_.old_mute)
      return finish(Error(cause_->code(), cause_->id(),
                          cause_->message() + "; " + old_name() + " serves on, and the mark that was left is taken out",
                          cause_->hint()));
    return finish(left_mark(*cause_, outcome_.old_mute));
  }
  if (step_ != Step::kRepairing) return;
  repaired_ = gone;
  const Error error(Code::kFailedPrecondition, "HWS-PX-022",
                    "an attempt that was cut off has left its mark in the shared memory of " + old_name() +
                        ": it refuses any successor" + (gone ? "" : " (" + repaired.result.error().message() + ")"),
                    "hawser proxy restart --hand-over planned-cold (connections are refused for under a second)");
  if (!gone && fall_back(error.message())) {
    note("mark", old_name(), false, error.message(), now);
    return is(HandOverKind::kPlannedCold) || room_for_two(now) ? validate(now) : void();
  }
  if (!gate("mark", old_name(), gone ? std::nullopt : std::optional(error), "a left-over mark was taken out", now))
    return;
  if (hot_restart_fits(now)) validate(now);
}

// ---- the binary and the bootstrap

void HandOver::validate(Monotonic now) {
  enter(Step::kValidating);
  using std::chrono::milliseconds;
  milliseconds rest{0};
  if (is(HandOverKind::kHotRestart) && options_.rests_until && *options_.rests_until > now)
    rest = std::chrono::duration_cast<milliseconds>(*options_.rests_until - now) + milliseconds(1);
  if (rest.count() > 0)
    note("interval", old_name(), true,
         "its predecessor has just gone: " + std::string(options_.request.plan ? "it would wait " : "waiting ") +
             std::to_string(rest.count()) + " ms",
         now);
  act(Deed::kValidate, options_.request.plan ? milliseconds(0) : rest);
}

void HandOver::on(const hand_over::Validated& validated, Monotonic now) {
  if (step_ != Step::kValidating) return;
  std::optional<Error> error;
  if (!validated.result)
    error = validated.result.error();
  else if (!validated.result->valid)
    error =
        Error(Code::kFailedPrecondition, "HWS-PX-003", "the proxy refuses its bootstrap: " + validated.result->detail,
              "correct the configuration it comes from (hawser config check)");
  version_ = validated.result ? validated.result->version : "";
  if (!gate("validate", new_name(), std::move(error), "Envoy " + version_ + " accepts its bootstrap", now)) return;
  if (validated.result && !versions_fit(*validated.result, now)) return;
  look_at_snapshot(now);
}

// Nothing stands against it.
void HandOver::validated(Monotonic now) {
  if (options_.request.plan) return finish(refusal_);
  if (is(HandOverKind::kPlannedCold)) {
    if (!old_ || !options_.can.drain) return end_old(now);
    enter(Step::kDraining);
    return act(Deed::kDrainOld);
  }
  if (!is(HandOverKind::kHotRestart) || !options_.feed || !options_.can.waits_for_listeners) return launch();
  enter(Step::kHolding);
  held_ = true;  // also if the answer doesn't come
  act(Deed::kHold);
}

void HandOver::launch() {
  outcome_.launched = true;
  enter(Step::kLaunching);
  act(Deed::kLaunch);
}

// ---- the end of the old one, before its successor's start

void HandOver::on(const hand_over::Drained& drained, Monotonic now) {
  if (step_ == Step::kLeaving) {
    if (!drained.result) return kill(*cause_);
    return act(Deed::kWait, options_.drain + std::chrono::seconds(1));
  }
  if (step_ != Step::kDraining) return;
  if (!drained.result) {
    note("drained", old_name(), false, drained.result.error().message(), now);
    return end_old(now);
  }
  deadline_ = now + options_.drain;
  act(Deed::kCountOld);
}

void HandOver::on(const hand_over::Counted& counted, Monotonic now) {
  if (step_ != Step::kDraining) return;
  const bool idle = counted.result && *counted.result == 0;
  // Twice, because a connection may be between the kernel's queue and Envoy's count.
  idle_counts_ = idle ? idle_counts_ + 1 : 0;
  const bool late = now >= deadline_;
  if (idle_counts_ < 2 && !late && (counted.result || ++failures_ < kPatience)) return act(Deed::kCountOld, kCountPoll);
  note("drained", old_name(), idle_counts_ >= 2,
       counted.result ? std::to_string(*counted.result) + " connections are open" : counted.result.error().message(),
       now);
  end_old(now);
}

void HandOver::end_old(Monotonic now) {
  enter(Step::kEndingOld);
  down_since_ = now;
  act(Deed::kEndOld);
  act(Deed::kWait, options_.end_wait);
}

void HandOver::old_is_gone(Monotonic now) {
  outcome_.old_ended = true;
  note("gone", old_name(), true, "it has ended", now);
  launch();
}

void HandOver::on(const hand_over::Waited&, Monotonic now) {
  if (step_ == Step::kLeaving) return act(Deed::kEndNew);
  if (step_ != Step::kEndingOld) return;
  if (++failures_ > 1) {
    const Error error(Code::kInternal, "HWS-PX-007", old_name() + " doesn't end, even by SIGKILL",
                      "the process hangs in the kernel; see its state in ps, and the kernel's log");
    note("gone", old_name(), false, error.message(), now);
    return finish(error);
  }
  act(Deed::kKillOld);
  act(Deed::kWait, options_.end_wait);
}

// Told by the kernel. Who signalled it, if anybody, doesn't matter.
void HandOver::on(const hand_over::OldEnded&, Monotonic now) {
  if (is(HandOverKind::kPlannedCold)) {
    if (step_ == Step::kDraining) down_since_ = now;
    if (step_ == Step::kDraining || step_ == Step::kEndingOld) return old_is_gone(now);
    if (outcome_.old_ended) return;
  }
  outcome_.old_ended = true;
  old_died(now);
}

void HandOver::old_died(Monotonic now) {
  const Error error(Code::kUnavailable, "HWS-PX-026", old_name() + " ended while it was handing over",
                    "hawserd takes the new one, or starts a proxy anew; its own log tells why it ended");
  const bool independent = is(HandOverKind::kSideBySide);
  switch (step_) {
    case Step::kWarming:
    case Step::kVetting:
      // Hot restart: without its parent it would wait, or abort some seconds later. Side by side it runs on, and is
      // found by who looks for what runs.
      return independent ? finish(error) : kill(error);
    case Step::kChecking:
    case Step::kCanary:
      // It is LIVE, and the only one that serves.
      note(independent ? "canary" : "parent", new_name(), false, error.message() + ": this one is taken at once", now);
      return finish(std::nullopt);
    case Step::kLeaving:
      return kill(error);
    case Step::kLaunching:
    case Step::kKilling:
    case Step::kReaping:
      cause_ = error;
      return;
    case Step::kDone:
      return;
    case Step::kLooking:
    case Step::kProving:
    case Step::kInspecting:
    case Step::kRepairing:
    case Step::kValidating:
    case Step::kSnapshot:
    case Step::kHolding:
    case Step::kDraining:
    case Step::kEndingOld:
    case Step::kAftermath:
      return finish(error);
  }
}

void HandOver::on(const hand_over::CallOff& call, Monotonic now) {
  const Error error(Code::kAborted, "HWS-PX-027", "the hand-over was called off, for " + call.why,
                    "nothing is left to do");
  switch (step_) {
    case Step::kLooking:
    case Step::kProving:
    case Step::kInspecting:
    case Step::kRepairing:
    case Step::kValidating:
    case Step::kSnapshot:
    case Step::kHolding:
    case Step::kDraining:
      return finish(error);
    case Step::kVetting:
      return kill(error);
    case Step::kLaunching:
      if (!is(HandOverKind::kPlannedCold)) cause_ = error;
      return;
    case Step::kWarming:
      // It may have become LIVE meanwhile; the next look tells, and ends it if not.
      cause_ = error;
      deadline_ = now;
      return;
    case Step::kChecking:
    case Step::kCanary:
      if (is(HandOverKind::kSideBySide)) leave(error);
      return;
    case Step::kLeaving:
      return kill(*cause_);
    case Step::kEndingOld:
    case Step::kKilling:
    case Step::kReaping:
    case Step::kAftermath:
    case Step::kDone:
      return;
  }
}

}  // namespace hawser::proxy
