// SPDX-License-Identifier: Apache-2.0
#include "proxy/hand_over.h"

#include <algorithm>
#include <utility>

#include "proxy/supervision.h"

namespace hawser::proxy {
namespace {

using hand_over::Deed;

// Both generations hold the whole configuration while the old one drains.
constexpr std::uint64_t kRoomTenths = 12;

std::string megabytes(std::uint64_t bytes) {
  return std::to_string(bytes >> 20U) + " MiB";
}

Error not_now(std::string what, std::string hint) {
  return {Code::kFailedPrecondition, "HWS-PX-021", std::move(what), std::move(hint)};
}

}  // namespace

std::string_view step_name(HandOver::Step step) {
  static constexpr std::string_view kNames[] = {"LOOKING", "PROVING", "VALIDATING", "LAUNCHING", "WARMING",
                                                "KILLING", "REAPING", "AFTERMATH",  "DONE"};
  return kNames[static_cast<std::size_t>(step)];
}

HandOver::HandOver(HandOverOptions options)
    : options_(std::move(options)), new_id_{options_.old_id.family, options_.old_id.epoch + 1} {}

std::vector<hand_over::Action> HandOver::begin() {
  out_.clear();
  if (new_id_.epoch > GenerationId::kMaxEpoch)
    finish(not_now("epoch " + std::to_string(options_.old_id.epoch) + " is the last one of a family",
                   "end the proxy (kill its pid): hawserd starts epoch 0 at once"));
  else
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
  enter(Step::kDone);
  outcome_.error = std::move(error);
}

// ---- before the new one exists

void HandOver::on(const hand_over::Observed& observed, Monotonic) {
  if (step_ != Step::kLooking) return;
  if (!observed.result) return finish(observed.result.error());
  bool old_runs = false;
  for (const auto& found : *observed.result) {
    if (!found.running) continue;
    if (found.name == old_name() && found.pid == options_.old_pid) {
      old_runs = true;
      continue;
    }
    return finish(not_now(found.name + " (pid " + std::to_string(found.pid) + ") still runs",
                          "try again when it has ended; proxy.parent_shutdown bounds how long a predecessor stays"));
  }
  if (!old_runs) return finish(not_now(old_name() + " doesn't run any more", "hawser status"));
  enter(Step::kProving);
  act(Deed::kProbeOld);
}

std::optional<Error> HandOver::judge_old(const ProbeResult& probe) const {
  if (probe.epoch != options_.old_id.epoch)
    return not_now(old_name() + " says that it is epoch " + std::to_string(probe.epoch), "hawser status");
  if (probe.state != ProxyState::kLive || !probe.ready)
    return not_now(old_name() + " is " + std::string(proxy_state_name(probe.state)) + ", not ready",
                   "only a LIVE proxy can hand over; hawser status says what it lacks");
  if (probe.initializing)
    return Error(Code::kFailedPrecondition, "HWS-PX-022",
                 "an attempt that was cut off has left its mark in the shared memory of " + old_name() +
                     ": it refuses any successor",
                 "a cold start clears it: kill pid " + std::to_string(options_.old_pid) +
                     ", hawserd starts another one at once (connections are refused for under a second)");
  if (options_.concurrency != 0 && options_.concurrency < probe.concurrency)
    return not_now("proxy.concurrency is " + std::to_string(options_.concurrency) + ", but " + old_name() + " runs " +
                       std::to_string(probe.concurrency) + " workers: connections in their queues would be lost",
                   "set it to " + std::to_string(probe.concurrency) + " or more, or leave and join");
  if (options_.room && options_.room->available * 10 < options_.room->used * kRoomTenths)
    return Error(Code::kResourceExhausted, "HWS-PX-023",
                 "two proxies need room: " + megabytes(options_.room->available) + " are free, " + old_name() +
                     " holds " + megabytes(options_.room->used),
                 "free memory: 1.2 times what the proxy holds must be available");
  return std::nullopt;
}

void HandOver::on(const hand_over::OldProbed& probed, Monotonic) {
  if (step_ == Step::kProving) {
    if (!probed.result)
      return finish(not_now(old_name() + " can't be asked: " + probed.result.error().message(),
                            "without its admin interface it can't hand over; hawser status says why"));
    if (auto error = judge_old(*probed.result)) return finish(std::move(*error));
    workers_ = probed.result->concurrency;
    enter(Step::kValidating);
    return act(Deed::kValidate);
  }
  if (step_ != Step::kAftermath) return;
  if (!probed.result && ++failures_ < kAftermathLooks) return act(Deed::kProbeOld, kAskAgain);
  outcome_.old_mute = !probed.result;
  const bool mark = !probed.result || probed.result->initializing;
  finish(mark ? left_mark(*cause_, outcome_.old_mute) : *cause_);
}

Error HandOver::left_mark(const Error& cause, bool mute) const {
  const std::string state = mute ? " serves on without its admin interface, and accepts no successor any more"
                                 : " serves on, but accepts no successor any more";
  return {cause.code(), cause.id(), cause.message() + "; " + old_name() + state,
          "when the cause is gone, a cold start puts it right: kill pid " + std::to_string(options_.old_pid) +
              " (connections are refused for under a second)"};
}

void HandOver::on(const hand_over::Validated& validated, Monotonic) {
  if (step_ != Step::kValidating) return;
  if (!validated.result) return finish(validated.result.error());
  if (!validated.result->valid)
    return finish(Error(Code::kFailedPrecondition, "HWS-PX-003",
                        "the proxy refuses its bootstrap: " + validated.result->detail,
                        "correct the configuration it comes from (hawser config check)"));
  enter(Step::kLaunching);
  act(Deed::kLaunch);
}

// ---- the new one

void HandOver::on(const hand_over::Launched& launched, Monotonic now) {
  if (step_ != Step::kLaunching) return;
  // It may run all the same.
  if (!launched.result) return kill(launched.result.error());
  outcome_.pid = launched.result->pid;
  outcome_.binary_sha256 = launched.result->binary_sha256;
  if (cause_) return kill(*cause_);
  enter(Step::kWarming);
  deadline_ = now + options_.start_timeout;
  act(Deed::kProbeNew);
}

bool HandOver::serves(const ProbeResult& probe) const {
  return probe.ready &&
         std::all_of(options_.required_ports.begin(), options_.required_ports.end(), [&probe](std::uint16_t port) {
           return std::any_of(probe.listeners.begin(), probe.listeners.end(),
                              [port](const Listener& listener) { return listener.port == port && listener.bound; });
         });
}

Error HandOver::not_live_in_time() const {
  return {Code::kDeadlineExceeded, "HWS-PX-024",
          new_name() + " wasn't LIVE in " + std::to_string(options_.start_timeout.count() / 1000) + " s (" +
              last_seen_ + ") and was ended",
          "hawser status shows the control plane's and the identity's state; the proxy's own log tells more"};
}

void HandOver::on(const hand_over::NewProbed& probed, Monotonic now) {
  if (step_ != Step::kWarming) return;
  const bool late = now >= deadline_;
  if (!probed.result) {
    last_seen_ = probed.result.error().message();
    if (late) return kill(cause_ ? *cause_ : not_live_in_time());
    return act(Deed::kProbeNew, options_.poll);
  }
  const ProbeResult& probe = *probed.result;
  last_seen_ = std::string(proxy_state_name(probe.state));
  if (probe.epoch != new_id_.epoch)
    return kill(Error(Code::kInternal, "HWS-PX-024",
                      new_name() + " says that it is epoch " + std::to_string(probe.epoch) + " and was ended",
                      "is the installed binary an Envoy? (hawser proxy install)"));
  if (probe.state == ProxyState::kLive) {
    // From here on the old one takes no new connection: there's no way back, only on.
    outcome_.probe = probe;
    if (serves(probe) || late) return finish(std::nullopt);
  } else if (late) {
    return kill(cause_ ? *cause_ : not_live_in_time());
  }
  act(Deed::kProbeNew, options_.poll);
}

void HandOver::on(const hand_over::NewEnded&, Monotonic) {
  if (step_ != Step::kWarming) return;
  died_ = !cause_;
  enter(Step::kReaping);
  act(Deed::kReap, options_.end_wait);
}

void HandOver::on(const hand_over::OldEnded&, Monotonic) {
  outcome_.old_ended = true;
  const Error error(Code::kUnavailable, "HWS-PX-026", old_name() + " ended while it was handing over",
                    "hawserd starts a proxy anew; its own log tells why it ended");
  switch (step_) {
    case Step::kLooking:
    case Step::kProving:
    case Step::kValidating:
    case Step::kAftermath:
      return finish(error);
    case Step::kWarming:
      return kill(error);  // without its parent it would wait, or abort some seconds later
    case Step::kLaunching:
    case Step::kKilling:
    case Step::kReaping:
      cause_ = error;
      return;
    case Step::kDone:
      return;
  }
}

void HandOver::on(const hand_over::CallOff&, Monotonic now) {
  const Error error(Code::kAborted, "HWS-PX-027", "the hand-over was called off, for the proxy is to end",
                    "nothing is left to do");
  switch (step_) {
    case Step::kLooking:
    case Step::kProving:
    case Step::kValidating:
      return finish(error);
    case Step::kLaunching:
      cause_ = error;
      return;
    case Step::kWarming:
      // It may have become LIVE meanwhile; the next look tells, and ends it if not.
      cause_ = error;
      deadline_ = now;
      return;
    case Step::kKilling:
    case Step::kReaping:
    case Step::kAftermath:
    case Step::kDone:
      return;
  }
}

// ---- its end

void HandOver::kill(Error cause) {
  cause_ = std::move(cause);
  enter(Step::kKilling);
  act(Deed::kKill);
}

void HandOver::again_or_give_up(Deed deed, const Error& error) {
  if (++failures_ < kMaxAsks) return act(deed, deed == Deed::kReap ? options_.end_wait : kAskAgain);
  finish(error);
}

void HandOver::on(const hand_over::Killed& killed, Monotonic) {
  if (step_ != Step::kKilling) return;
  if (!killed.result && killed.result.error().code() != Code::kNotFound)
    return again_or_give_up(Deed::kKill, killed.result.error());
  enter(Step::kReaping);
  act(Deed::kReap, options_.end_wait);
}

void HandOver::on(const hand_over::Reaped& reaped, Monotonic) {
  if (step_ != Step::kReaping) return;
  if (!reaped.result && reaped.result.error().code() != Code::kNotFound)
    return again_or_give_up(Deed::kReap, reaped.result.error());
  if (reaped.result && !reaped.result->ended)
    return again_or_give_up(Deed::kReap,
                            Error(Code::kInternal, "HWS-PX-007", new_name() + " doesn't end, even by SIGKILL",
                                  "the process hangs in the kernel; see its state in ps, and the kernel's log"));
  if (died_ && !cause_) {
    const int status = reaped.result ? reaped.result->exit_status : -1;
    cause_ =
        Error(Code::kUnavailable, "HWS-PX-024", new_name() + " ended (" + exit_text(status) + ") before it was LIVE",
              "the proxy's own log tells why; is the installed binary an Envoy that fits? (hawser proxy install)");
  }
  if (outcome_.old_ended) return finish(*cause_);
  enter(Step::kAftermath);
  act(Deed::kProbeOld);
}

}  // namespace hawser::proxy
