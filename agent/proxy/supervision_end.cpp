// SPDX-License-Identifier: Apache-2.0
// How a proxy ends: by itself, or because it's told to. The rest is in supervision.cpp.
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

#include "proxy/supervision.h"

namespace hawser::proxy {
namespace {

constexpr unsigned kMaxAsks = 10;  // of a host that doesn't answer, while stopping
constexpr auto kStopAskAgain = std::chrono::milliseconds(500);
constexpr unsigned kIdleCounts = 2;
constexpr std::size_t kDigest = 12;  // digits

}  // namespace

std::string digest_text(const std::string& sha256) {
  return sha256.substr(0, kDigest);
}

std::string exit_text(int status) {
  if (status < 0) return "unknown";
  if (WIFSIGNALED(status)) {
    const char* name = sigabbrev_np(WTERMSIG(status));
    return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(WTERMSIG(status));
  }
  return "exit " + std::to_string(WEXITSTATUS(status));
}

// ---- its end

void Supervision::on(const event::Exited& exited, Monotonic now) {
  if (exited.pid != facts_.pid) return;
  if (phase_ != Phase::kWarming && phase_ != Phase::kLive && phase_ != Phase::kDraining) return;
  if (phase_ == Phase::kLive) announce_down(facts_.generation + " ended", now);
  enter(Phase::kReaping);
  act(action::Reap{kReapWait});
}

void Supervision::on(const event::Reaped& reaped, Monotonic now) {
  if (phase_ == Phase::kEnding) return end_reaped(reaped.result, now);
  if (phase_ != Phase::kReaping) return;
  if (!reaped.result && reaped.result.error().code() != Code::kNotFound) {
    if (stopping_) return ask_again(reaped.result.error());
    return retry(HealthState::kDegraded, reaped.result.error());
  }
  if (reaped.result && !reaped.result->ended) return observe();
  ended(reaped.result ? *reaped.result : ReapedGeneration(), now);
}

void Supervision::ended(const ReapedGeneration& how, Monotonic now) {
  const int status = how.exit_status;
  act(action::RecordExit{status});
  if (stopping_) return ended_for_good();
  const bool killed = status >= 0 && WIFSIGNALED(status);
  const std::string text = how.out_of_memory ? "out of memory" : exit_text(status);
  crashed(how.out_of_memory ? "out_of_memory" : killed ? "signal" : "exit", text, now);
  const bool series = backoff_.attempts() >= kSeries;
  const std::string detail = facts_.generation + " ended (" + text + ")";
  const Error error(
      Code::kUnavailable, "HWS-PX-006", detail,
      how.out_of_memory
          ? "it is started again by itself; HAWSER_PROXY_MEMORY_MAX in /etc/hawser/broker.env is its limit"
          : "the proxy's own log tells why; it is started again by itself");
  enter(Phase::kWaiting);
  report(series ? HealthState::kFailed : HealthState::kDegraded, detail + ", starting it again", error);
  act(action::Wake{backoff_.next()});
}

void Supervision::crashed(const std::string& cause, const std::string& how, Monotonic now) {
  act(action::Crashed{cause});
  const auto& sha256 = facts_.binary_sha256;
  if (sha256.empty() || !budget_.ended(sha256, now)) return;
  if (sha256 == way_back_) way_back_.clear();
  act(action::GiveUp{sha256, budget_.spent() + ", the last time by " + how});
}

// Without one to return to it goes on as before, with its pauses: also a bad one may serve between its ends.
void Supervision::on(const event::GivenUp& given_up, Monotonic) {
  if (!given_up.result || phase_ != Phase::kWaiting) return;
  backoff_.reset();
  remark_ = ": the last good one, for " + digest_text(facts_.binary_sha256) + " kept ending";
  act(action::RolledBack{"crashes"});
  const Error error(Code::kUnavailable, "HWS-PX-042",
                    "the proxy's binary kept ending and was put aside; the last good one is started",
                    "hawser proxy list shows which; its log tells why it ended");
  report(HealthState::kDegraded, error.message(), error);
  act(action::Wake{std::chrono::milliseconds(0)});
}

void Supervision::on(const event::KnownGood& known, Monotonic) {
  budget_.trust(known.binary_sha256);
}

// ---- stop

void Supervision::ended_for_good() {
  if (retired_.empty() && elder_.empty() && !leftover_) return finish({});
  observe();  // a predecessor may run still, or a successor that couldn't be ended
}

void Supervision::on(const event::Stop& stop, Monotonic now) {
  drain_ = stop.drain;
  if (stopping_ && phase_ != Phase::kStopped && phase_ != Phase::kIdle) {
    drain_until_ = std::min(drain_until_, now + drain_);
    return;
  }
  stopping_ = true;
  switch (phase_) {
    case Phase::kStopped:
      return finish({});
    // Whatever runs is ended, also what an earlier hawserd started.
    case Phase::kIdle:
    case Phase::kValidating:
    case Phase::kWaiting:
      return observe();
    case Phase::kWarming:
      return drain(now);
    case Phase::kLive:
      if (leftover_) return observe();  // the newer one, if it runs, has to end first
      return drain(now);
    case Phase::kHandingOver:
      return act(action::CallOffHandOver{});
    case Phase::kObserving:
    case Phase::kStarting:
    case Phase::kReaping:
    case Phase::kDraining:
    case Phase::kEnding:
      return;  // what is under way leads there
  }
}

void Supervision::drain(Monotonic now) {
  idle_counts_ = 0;
  drain_until_ = now + drain_;
  if (!elder_.empty()) return end(SIGKILL);  // not LIVE: the elder is the one to drain
  if (drain_.count() <= 0) return end(SIGTERM);
  enter(Phase::kDraining);
  report(HealthState::kStarting, facts_.generation + " is draining");
  act(action::BeginDrain{});
}

void Supervision::on(const event::DrainBegun& begun, Monotonic) {
  if (phase_ != Phase::kDraining) return;
  if (!begun.result) return end(SIGTERM);  // without it nobody can tell when it's idle
  act(action::Count{});
}

void Supervision::on(const event::Counted& counted, Monotonic now) {
  if (phase_ != Phase::kDraining) return;
  if (!counted.result && ++failures_ >= kPatience) return end(SIGTERM);
  // Twice, because a connection may be between the kernel's queue and Envoy's count.
  idle_counts_ = counted.result && *counted.result == 0 ? idle_counts_ + 1 : 0;
  if (idle_counts_ >= kIdleCounts || now >= drain_until_) return end(SIGTERM);
  act(action::Wake{options_.drain_poll});
}

void Supervision::end(int signal) {
  enter(Phase::kEnding);
  signal_ = signal;
  act(action::Signal{signal});
}

void Supervision::on(const event::Signalled& signalled, Monotonic) {
  if (phase_ != Phase::kEnding) return;
  if (!signalled.result && signalled.result.error().code() != Code::kNotFound)
    return ask_again(signalled.result.error());
  act(action::Reap{options_.end_wait});
}

void Supervision::end_reaped(const Result<ReapedGeneration>& result, Monotonic now) {
  if (!result && result.error().code() != Code::kNotFound) return ask_again(result.error());
  if (result && !result->ended) {
    if (signal_ == SIGTERM) return end(SIGKILL);
    const Error error(Code::kInternal, "HWS-PX-007",
                      facts_.generation + " (pid " + std::to_string(facts_.pid) + ") doesn't end, even by SIGKILL",
                      "the process hangs in the kernel; see its state in ps, and the kernel's log");
    if (stopping_) return finish(error);
    return retry(HealthState::kFailed, error);
  }
  act(action::RecordExit{result ? result->exit_status : -1});
  if (std::exchange(hung_, false)) crashed("wedged", "it hung", now);
  if (stopping_) return ended_for_good();
  observe();
}

// While something must be ended, a host that doesn't answer is asked again, for a while.
void Supervision::ask_again(const Error& error) {
  if (++failures_ < kMaxAsks) {
    report(HealthState::kDegraded, "ending the proxy: " + error.message(), error);
    act(action::Wake{kStopAskAgain});
    return;
  }
  if (stopping_) return finish(error);
  retry(HealthState::kFailed, error);
}

void Supervision::finish(Status result) {
  // After a failure another stop() tries the whole way again.
  enter(result ? Phase::kStopped : Phase::kIdle);
  stopping_ = false;
  if (result)
    report(HealthState::kOk, "stopped");
  else
    report(HealthState::kFailed, result.error().message(), result.error());
  facts_ = {};
  act(action::Stopped{std::move(result)});
}

}  // namespace hawser::proxy
