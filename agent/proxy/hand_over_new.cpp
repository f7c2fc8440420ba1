// SPDX-License-Identifier: Apache-2.0
// The new one: from its start until it has taken over, or is gone again.
#include <algorithm>
#include <utility>

#include "proxy/hand_over.h"
#include "proxy/supervision.h"

namespace hawser::proxy {

using hand_over::Deed;

void HandOver::on(const hand_over::Launched& launched, Monotonic now) {
  if (step_ != Step::kLaunching) return;
  note("launched", new_name(), static_cast<bool>(launched.result),
       launched.result ? "pid " + std::to_string(launched.result->pid) : launched.result.error().message(), now);
  // It may run all the same.
  if (!launched.result) return kill(launched.result.error());
  outcome_.pid = launched.result->pid;
  outcome_.binary_sha256 = launched.result->binary_sha256;
  if (cause_) return kill(*cause_);
  enter(Step::kWarming);
  deadline_ = now + options_.start_timeout;
  old_answered_ = old_asked_ = now;
  act(Deed::kProbeNew);
}

// By hot restart the new one asks the old one for its sockets, and waits without a limit: if the old one hangs, both
// are silent. So while the new one says nothing, the old one is tried as its users do.
bool HandOver::old_may_hang(Monotonic now) const {
  return is(HandOverKind::kHotRestart) && options_.can.data_path_probe && options_.wedge_after.count() > 0 &&
         now - old_asked_ >= options_.ask_old;
}

// The kernel takes connections for one that hangs, so only what isn't answered tells, not what is refused.
void HandOver::on(const hand_over::OldAnswered& answered, Monotonic now) {
  if (step_ != Step::kWarming) return;
  old_asked_ = now;
  if (answered.result || answered.result.error().code() != Code::kDeadlineExceeded) {
    old_answered_ = now;
    old_silent_ = 0;
    return act(Deed::kProbeNew, options_.poll);
  }
  if (++old_silent_ < kSilences || now - old_answered_ < options_.wedge_after)
    return act(Deed::kProbeNew, options_.poll);
  const auto silent = std::chrono::duration_cast<std::chrono::seconds>(now - old_answered_).count();
  const std::string detail = old_name() + " (pid " + std::to_string(options_.old_pid) + ") is wedged: neither " +
                             new_name() + ", which waits for it, nor its data path has answered for " +
                             std::to_string(silent) + " s";
  note("parent", old_name(), false, detail, now);
  outcome_.old_hung = true;
  kill(Error(Code::kDeadlineExceeded, "HWS-PX-040", detail,
             "both are killed, and one is started anew by itself; the log of the old one tells more"));
}

// Empty: nothing.
std::string HandOver::lacks(const ProbeResult& probe) const {
  std::string out;
  const auto add = [&out](const std::string& what) { out += (out.empty() ? "" : ", ") + what; };
  for (const auto port : options_.required_ports)
    if (std::none_of(probe.listeners.begin(), probe.listeners.end(),
                     [port](const Listener& item) { return item.port == port && item.bound; }))
      add("port " + std::to_string(port));
  if (!old_) return out;
  for (const auto& before : old_->listeners)
    if (before.bound && std::none_of(probe.listeners.begin(), probe.listeners.end(), [&before](const Listener& item) {
          return item.address == before.address && item.port == before.port && item.bound;
        }))
      add(before.name + " (" + before.address + ":" + std::to_string(before.port) + ")");
  return out;
}

// By hot restart and cold only what interception needs is waited for, for nothing else serves any more.
bool HandOver::serves(const ProbeResult& probe) const {
  if (!probe.ready) return false;
  if (is(HandOverKind::kSideBySide)) return lacks(probe).empty();
  return std::all_of(options_.required_ports.begin(), options_.required_ports.end(), [&probe](std::uint16_t port) {
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
  if (step_ == Step::kCanary) return canary(probed.result, now);
  if (step_ != Step::kWarming) return;
  const bool late = now >= deadline_;
  if (!probed.result) {
    last_seen_ = probed.result.error().message();
    if (!late) return old_may_hang(now) ? act(Deed::kAskOld) : act(Deed::kProbeNew, options_.poll);
    note(held_ ? "clusters" : "live", new_name(), false, last_seen_, now);
    return kill(cause_ ? *cause_ : not_live_in_time());
  }
  const ProbeResult& probe = *probed.result;
  last_seen_ = std::string(proxy_state_name(probe.state));
  const GenerationId id = *generation_id(new_name());
  if (probe.epoch != id.epoch) {
    note("epoch", new_name(), false, "it says " + std::to_string(probe.epoch), now);
    return kill(Error(Code::kInternal, "HWS-PX-024",
                      new_name() + " says that it is epoch " + std::to_string(probe.epoch) + " and was ended",
                      "is the installed binary an Envoy? (hawser proxy install)"));
  }
  if (probe.state == ProxyState::kLive) return live(probe, late, now);
  // One that is held back can't become LIVE.
  if (held_ && cause_) return kill(*cause_);
  if (held_ && !late && probe.state == ProxyState::kInitializing) return vet(probe, now);
  if (!late) return act(Deed::kProbeNew, options_.poll);
  note(held_ ? "clusters" : "live", new_name(), false, last_seen_, now);
  kill(cause_ ? *cause_ : not_live_in_time());
}

void HandOver::live(const ProbeResult& probe, bool late, Monotonic now) {
  const bool side = is(HandOverKind::kSideBySide);
  if (side && cause_) return leave(*cause_);
  // Otherwise the old one takes no new connection from here on: there's no way back, only on.
  outcome_.probe = probe;
  if (!serves(probe) && !late) return act(Deed::kProbeNew, options_.poll);
  if (!side && !outcome_.refused && is(HandOverKind::kPlannedCold))
    outcome_.refused = std::chrono::duration_cast<std::chrono::milliseconds>(now - down_since_);
  note("live", new_name(), probe.ready, "Envoy " + probe.version + " is LIVE" + (probe.ready ? "" : ", but not ready"),
       now);
  if (!vetted_) note("epoch", new_name(), true, std::to_string(probe.epoch), now);
  const std::string lacking = lacks(probe);
  note("listeners", new_name(), lacking.empty(),
       lacking.empty() ? "all that " + old_name() + " has are bound" : "not bound: " + lacking, now);
  if (side && (!probe.ready || !lacking.empty()))
    return leave(Error(Code::kUnavailable, "HWS-PX-032",
                       new_name() + " is LIVE, but " + (lacking.empty() ? "not ready" : "without " + lacking),
                       old_name() + " serves on; the control plane's listeners are in hawser xds"));
  enter(Step::kChecking);
  act(Deed::kInspectNew);
}

void HandOver::failed_check(const std::string& name, const std::string& reason, Monotonic now) {
  note(name, new_name(), false, reason, now);
  if (!is(HandOverKind::kSideBySide) || step_ != Step::kChecking) return;
  leave(Error(Code::kUnavailable, "HWS-PX-032", new_name() + " failed its check of " + name + ": " + reason,
              old_name() + " serves on; the proxy's own log tells more"));
}

// Without a way back what isn't as it should be is told, and no more.
void HandOver::on(const hand_over::NewInspected& inspected, Monotonic now) {
  if (step_ == Step::kVetting) return vetted(inspected.result, now);
  if (step_ != Step::kChecking) return;
  if (!inspected.result) {
    if (++failures_ < kPatience) return act(Deed::kInspectNew, kAskAgain);
    failed_check("certificates", inspected.result.error().message(), now);
    return replaced(now);
  }
  const Inspection& seen = *inspected.result;
  const bool had = old_inspection_ && old_inspection_->certificates > 0;
  if (!seen.expired.empty())
    failed_check("certificates", "expired: " + seen.expired, now);
  else if (had && seen.certificates == 0)
    failed_check("certificates", "it presents none", now);
  else
    note("certificates", new_name(), true, std::to_string(seen.certificates) + " valid", now);
  if (step_ != Step::kChecking) return;
  if (seen.workers)
    note("workers", new_name(), true, "they run", now);
  else
    failed_check("workers", "they don't run", now);
  if (step_ != Step::kChecking) return;
  if (!options_.can.worker_request) return replaced(now);
  failures_ = 0;
  act(Deed::kAskNew);
}

// Of this very generation: where users come in, another may have answered.
void HandOver::on(const hand_over::NewAnswered& answered, Monotonic now) {
  if (step_ != Step::kChecking) return;
  if (!answered.result && ++failures_ < kPatience) return act(Deed::kAskNew, kAskAgain);
  if (answered.result)
    note("request", new_name(), true, "one of its workers answered", now);
  else
    failed_check("request", answered.result.error().message(), now);
  replaced(now);
}

void HandOver::replaced(Monotonic now) {
  if (step_ != Step::kChecking) return;
  if (!is(HandOverKind::kSideBySide) || options_.canary.count() <= 0) return finish(std::nullopt);
  enter(Step::kCanary);
  deadline_ = now + options_.canary;
  act(Deed::kProbeNew, kCanaryPoll);
}

// Both accept, and half of what is new goes to the new one.
void HandOver::canary(const Result<ProbeResult>& probe, Monotonic now) {
  const auto off = [&](const std::string& what) {
    note("canary", new_name(), false, what, now);
    leave(Error(Code::kUnavailable, "HWS-PX-032", new_name() + " failed while both served: " + what,
                old_name() + " serves on; the proxy's own log tells more"));
  };
  if (!probe) {
    if (++failures_ >= kPatience) return off("it doesn't answer: " + probe.error().message());
    return act(Deed::kProbeNew, kCanaryPoll);
  }
  failures_ = 0;
  if (probe->state != ProxyState::kLive || !probe->ready)
    return off("it is " + std::string(proxy_state_name(probe->state)) + ", not ready");
  if (const std::string lacking = lacks(*probe); !lacking.empty()) return off("not bound: " + lacking);
  if (now < deadline_) return act(Deed::kProbeNew, kCanaryPoll);
  outcome_.probe = *probe;
  note("canary", new_name(), true, "it served beside " + old_name() + " and stayed ready", now);
  finish(std::nullopt);
}

// ---- its end

void HandOver::on(const hand_over::NewEnded&, Monotonic now) {
  const bool early = step_ == Step::kWarming || step_ == Step::kVetting;
  if (!early && step_ != Step::kChecking && step_ != Step::kCanary && step_ != Step::kLeaving) return;
  outcome_.new_ended = died_ = !cause_;
  if (died_) note(early ? "live" : "canary", new_name(), false, "it ended", now);
  enter(Step::kReaping);
  act(Deed::kReap, options_.end_wait);
}

// Its connections go to the old one again: it's asked to drain, then ended.
void HandOver::leave(Error cause) {
  cause_ = std::move(cause);
  enter(Step::kLeaving);
  act(Deed::kDrainNew);
}

void HandOver::kill(Error cause) {
  cause_ = std::move(cause);
  enter(Step::kKilling);
  act(Deed::kKill);
}

void HandOver::again_or_give_up(Deed deed, const Error& error) {
  if (++failures_ < kMaxAsks) return act(deed, deed == Deed::kReap ? options_.end_wait : kAskAgain);
  outcome_.old_hung = false;  // it goes on waiting, and the new one may serve
  finish(error);
}

void HandOver::on(const hand_over::Killed& killed, Monotonic) {
  if (step_ == Step::kLeaving) {
    if (!killed.result) return kill(*cause_);
    enter(Step::kReaping);
    return act(Deed::kReap, options_.end_wait);
  }
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
  if (reaped.result && !reaped.result->ended) {
    // One that was asked to end and doesn't.
    if (is(HandOverKind::kSideBySide) && failures_ == 0) {
      ++failures_;
      act(Deed::kKill);
      return act(Deed::kReap, options_.end_wait);
    }
    return again_or_give_up(Deed::kReap,
                            Error(Code::kInternal, "HWS-PX-007", new_name() + " doesn't end, even by SIGKILL",
                                  "the process hangs in the kernel; see its state in ps, and the kernel's log"));
  }
  if (reaped.result) outcome_.new_exit = reaped.result->exit_status;
  if (died_ && !cause_) {
    const int status = reaped.result ? reaped.result->exit_status : -1;
    const bool was_live = outcome_.probe.ready;
    cause_ = Error(Code::kUnavailable, was_live ? "HWS-PX-032" : "HWS-PX-024",
                   new_name() + " ended (" + exit_text(status) + ") " +
                       (was_live ? "before it had taken over" : "before it was LIVE"),
                   "the proxy's own log tells why; is the installed binary an Envoy that fits? (hawser proxy install)");
  }
  if (outcome_.old_ended || outcome_.old_hung || !is(HandOverKind::kHotRestart)) return finish(*cause_);
  enter(Step::kAftermath);
  act(Deed::kProbeOld);
}

void HandOver::aftermath(const Result<ProbeResult>& probe) {
  if (!probe && ++failures_ < kPatience) return act(Deed::kProbeOld, kAskAgain);
  outcome_.old_mute = !probe;
  if (probe && !probe->initializing) return finish(*cause_);
  act(Deed::kRepair);
}

Error HandOver::left_mark(const Error& cause, bool mute) const {
  const std::string state = mute ? " serves on without its admin interface" : " serves on";
  return {cause.code(), cause.id(), cause.message() + "; " + old_name() + state + ", and accepts no successor any more",
          "when the cause is gone: hawser proxy restart --hand-over planned-cold (connections are refused for under a "
          "second)"};
}

}  // namespace hawser::proxy
