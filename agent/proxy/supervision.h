// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/backoff.h"
#include "base/health.h"
#include "base/loop.h"
#include "proxy/crash_budget.h"
#include "proxy/driver.h"
#include "proxy/generation_host.h"
#include "proxy/hand_over.h"

// What: the decisions of supervising one proxy: events in, actions out, no I/O and no clock of its own; supervisor.h
// does what it says. A proxy that runs and is LIVE is adopted and left alone; one that ended is reaped and started
// cold; one that isn't LIVE in time is reported and waited for, never killed, because that alone would help nobody. A
// found one that doesn't answer serves if the kernel shows its sockets; without them it is replaced, in time.
//
//   observing ─┬─ running ──────────────► warming ── gates pass ──► live
//      ▲       └─ none ─► validating ─► starting ──► ▲                │ ends, or gates are lost
//      │                       │ fails      │        └────────────────┤
//      └───── waiting ◄────────┴────────────┴────── reaping ◄─────────┘
//   stop: (draining ─►) ending ─► stopped, from anywhere
//   live ─► handing over (hand_over.h) ─► live, as the new one or, if that failed, as before
//
// Of two that run, as after a crash of hawserd in the middle of a hand-over, the newer one is taken once it's LIVE; the
// older one is left to end if it's of the same family, else drained and ended. A newer one that isn't LIVE in time is
// killed (hand_over.h says why never by SIGTERM), and the older one serves on, of the same family maybe without its
// admin interface: then what the kernel shows must do. If one ends whose predecessor still drains, that one drains on
// and another starts beside it, in the other family; of one family all must be gone first.
// Gates: the proxy says LIVE, /ready says so too, and each required port has a listener that the kernel shows bound.
// Threading: none of its own. Failure: HWS-PX-003 (bootstrap refused), HWS-PX-004 (not LIVE in time), HWS-PX-005 (LIVE
// without its listeners), HWS-PX-025 (it serves, but can't be asked any more), HWS-PX-006 (it ended), HWS-PX-007 (it
// won't end), HWS-PX-001 (it doesn't answer), HWS-PX-040 (it hangs), HWS-PX-042 (its binary
// was given up), HWS-PX-044 (the old one was ended for one that failed).
namespace hawser::proxy {

enum class Phase {
  kIdle,
  kObserving,
  kValidating,
  kStarting,
  kWarming,
  kLive,
  kHandingOver,
  kReaping,
  kWaiting,
  kDraining,
  kEnding,
  kStopped
};
std::string_view phase_name(Phase phase);

struct SupervisionOptions {
  std::string generation = "f1e0";  // of a cold start
  std::vector<std::uint16_t> required_ports{15001, 15006};
  std::uint16_t inbound_port = 15006;  // the one of them that a drain closes
  std::chrono::milliseconds start_timeout{30000};
  std::chrono::milliseconds warm_poll{50};
  std::chrono::milliseconds slow_poll{500};  // when it's overdue
  std::chrono::milliseconds watch_poll{1000};
  std::chrono::milliseconds drain_poll{50};
  std::chrono::milliseconds end_wait{5000};      // after SIGTERM, and again after SIGKILL
  std::chrono::milliseconds steady{30000};       // LIVE for so long: its next end isn't part of a series
  std::chrono::milliseconds wedge_after{10000};  // without a sign of life by admin interface and data path; 0: never
  std::chrono::milliseconds parent_shutdown{60000};  // how long a predecessor stays, from its successor's LIVE on
  std::chrono::milliseconds backoff_base{100};
  std::chrono::milliseconds backoff_cap{10000};
  CrashBudget::Options budget;
  std::uint64_t seed = 1;
};

namespace event {
struct Start {};
struct Stop {
  std::chrono::milliseconds drain{0};
};
struct Woke {};
// Whoever has put right what the proxy failed for needn't wait for the pause to end. Of the store; empty: its current
// one.
struct StartNow {
  std::string binary_sha256;
};
struct Observed {
  Result<std::vector<HostedGeneration>> result;
};
struct Validated {
  Result<Validation> result;
};
struct Started {
  Result<StartedGeneration> result;
};
struct Probed {
  Result<ProbeResult> result;
  std::vector<Listener> kernel;  // what listens on the required ports; filled in where there's no result
};
struct DataProbed {
  Status result;
};
struct Diagnosed {
  std::string text;
};
struct Exited {
  pid_t pid = 0;
};
struct DrainBegun {
  Status result;
};
struct Counted {
  Result<std::uint64_t> result;
};
struct Signalled {
  Status result;
};
struct Reaped {
  Result<ReapedGeneration> result;
};
struct HandOverBegun {};
struct HandOverEnded {
  HandOverOutcome outcome;
  bool listening = true;  // does anybody listen on the required ports?
};
// The binary was put aside; the next start is of the last good one. An error: there's none to return to.
struct GivenUp {
  Status result;
};
// A binary is known to be good, by an earlier hawserd.
struct KnownGood {
  std::string binary_sha256;
};
// A generation that was left to end is gone.
struct Retired {
  std::string generation;
};
}  // namespace event
using SupervisionEvent =
    std::variant<event::Start, event::Stop, event::Woke, event::StartNow, event::Observed, event::Validated,
                 event::Started, event::Probed, event::DataProbed, event::Diagnosed, event::Exited, event::DrainBegun,
                 event::Counted, event::Signalled, event::Reaped, event::HandOverBegun, event::HandOverEnded,
                 event::GivenUp, event::KnownGood, event::Retired>;

namespace action {
struct Observe {};
struct Validate {};
struct Launch {};
struct Probe {};
// Does it answer a user's connection?
struct ProbeData {};
struct Diagnose {};
struct WatchExit {
  pid_t pid = 0;
};
struct BeginDrain {};
struct Count {};
struct Signal {
  int number = 0;
};
struct Reap {
  std::chrono::milliseconds wait{0};
};
// The one timer; a later one replaces it.
struct Wake {
  std::chrono::milliseconds after{0};
};
struct Live {
  std::optional<Loop::Duration> down_for;  // since it was LIVE before
};
struct Down {
  std::string reason;
};
struct Report {
  HealthState state = HealthState::kOk;
  std::string detail;
  std::optional<Error> error;
};
// Put the binary aside and return to the last good one, if there is one.
struct GiveUp {
  std::string binary_sha256;
  std::string reason;
  std::string way_back = {};  // to be noted as good before; empty: one is known
};
// The binary has served well.
struct Trust {
  std::string binary_sha256;
  std::string why;
};
// The next start is of what served before: for a `hand_over` that failed, or for `crashes`.
struct RolledBack {
  std::string cause;
};
// Its end wasn't asked for: `exit`, `signal`, `out_of_memory` or `wedged`.
struct Crashed {
  std::string cause;
};
struct RecordExit {
  int status = -1;
};
struct Stopped {
  Status result;
};
struct CallOffHandOver {};
// Another generation has taken over: to those who were told of the old one.
struct Replaced {};
// Wait for its end, then reap it; no signal. One that another has taken over from side by side is drained and ended.
struct Retire {
  std::string generation;
  bool drain = false;
};
}  // namespace action
using SupervisionAction =
    std::variant<action::Observe, action::Validate, action::Launch, action::Probe, action::ProbeData, action::Diagnose,
                 action::WatchExit, action::BeginDrain, action::Count, action::Signal, action::Reap, action::Wake,
                 action::Live, action::Down, action::Report, action::Crashed, action::GiveUp, action::Trust,
                 action::RolledBack, action::RecordExit, action::Stopped, action::CallOffHandOver, action::Replaced,
                 action::Retire>;

class Supervision {
 public:
  // What is known of the generation at hand.
  struct Facts {
    std::string generation;
    pid_t pid = 0;
    std::string binary_sha256;
    std::string version;
    unsigned concurrency = 0;
    std::vector<Listener> listeners;
    std::string proxy_state;  // as it says itself
    bool adopted = false;
  };

  explicit Supervision(SupervisionOptions options);

  std::vector<SupervisionAction> handle(SupervisionEvent event, Loop::Monotonic now);
  Phase phase() const { return phase_; }
  const Facts& facts() const { return facts_; }
  // This process has had its inbound listeners drained on purpose: that they are closed is no fault of its. No pid:
  // none has, and one whose listeners are closed is replaced.
  void expect_drained(pid_t pid) { drained_ = pid; }
  // Is it no fault of this process that nothing listens on this port?
  bool excused(pid_t pid, std::uint16_t port) const {
    return pid != 0 && pid == drained_ && port == options_.inbound_port;
  }
  // Of the store, what is started; empty: its current one.
  const std::string& binary() const { return way_back_; }
  bool live() const { return phase_ == Phase::kLive || phase_ == Phase::kHandingOver; }
  // Changes with each phase: an answer to a question of an earlier turn is to be dropped. Exited is for any turn.
  unsigned turn() const { return turn_; }

 private:
  friend struct Fingerprint;  // of the tests' exploration

  using Monotonic = Loop::Monotonic;

  static constexpr unsigned kPatience = 3;  // looks in a row before something counts as lost
  static constexpr unsigned kSeries = 5;    // ends in a row: it won't heal by itself
  static constexpr auto kReapWait = std::chrono::milliseconds(2000);

  void on(const event::Start&, Monotonic now);
  void on(const event::Stop& stop, Monotonic now);
  void on(const event::Woke&, Monotonic now);
  void on(const event::StartNow& start, Monotonic now);
  void on(const event::Observed& observed, Monotonic now);
  void on(const event::Validated& validated, Monotonic now);
  void on(const event::Started& started, Monotonic now);
  void on(const event::Probed& probed, Monotonic now);
  void on(const event::DataProbed& probed, Monotonic now);
  void on(const event::Diagnosed& diagnosed, Monotonic now);
  void on(const event::Exited& exited, Monotonic now);
  void on(const event::DrainBegun& begun, Monotonic now);
  void on(const event::Counted& counted, Monotonic now);
  void on(const event::Signalled& signalled, Monotonic now);
  void on(const event::Reaped& reaped, Monotonic now);
  void on(const event::HandOverBegun&, Monotonic now);
  void on(const event::HandOverEnded& ended, Monotonic now);
  void on(const event::GivenUp& given_up, Monotonic now);
  void on(const event::KnownGood& known, Monotonic now);
  void on(const event::Retired& retired, Monotonic now);

  template <typename Action>
  void act(Action action) {
    out_.emplace_back(std::move(action));
  }
  void enter(Phase phase);
  void report(HealthState state, std::string detail, std::optional<Error> error = {});

  void observe();
  void take_up(const HostedGeneration& found, bool first_look, Monotonic now);
  const HostedGeneration* choose(const std::vector<HostedGeneration>& all);
  bool seen_off(const HostedGeneration& found) const;
  std::string cold_name(const std::vector<HostedGeneration>& all) const;
  bool end_beside();
  void retire(const std::string& generation, bool drain);
  // Of another family than the one at hand: neither depends on the other.
  bool independent(const std::string& other) const;
  void replace(const HandOverOutcome& outcome, Monotonic now);
  void keep(const HandOverOutcome& outcome, bool listening, Monotonic now);
  void blame(const HandOverOutcome& outcome);
  void roll_back(const HandOverOutcome& outcome, Monotonic now);
  std::string only_good();
  void report_live(const std::string& how = {});
  void mute(const event::Probed& probed, Monotonic now);
  bool serves_by(const std::vector<Listener>& kernel) const;
  Error cannot_ask() const;
  void warm(Monotonic now);
  void warming(const event::Probed& probed, Monotonic now);
  void not_yet(const std::string& missing, bool live, Monotonic now);
  void go_live(Monotonic now);
  void watching(const Result<ProbeResult>& probe, Monotonic now);
  void watched_observation(const event::Observed& observed, Monotonic now);
  void alive(Monotonic now);
  void suspect(Monotonic now);
  bool wedged(Monotonic now) const;
  void end_wedged(Monotonic now);
  void end_hung(const std::string& detail, Monotonic now);
  bool hangs_with_predecessor(const std::vector<HostedGeneration>& all, Monotonic now) const;
  void lost(const std::string& reason, Monotonic now);
  void announce_down(const std::string& reason, Monotonic now);
  void retry(HealthState state, const Error& error);
  void ended(const ReapedGeneration& how, Monotonic now);
  void crashed(const std::string& cause, const std::string& how, Monotonic now);
  void drain(Monotonic now);
  void end(int signal);
  void end_reaped(const Result<ReapedGeneration>& result, Monotonic now);
  void ask_again(const Error& error);
  void ended_for_good();
  void finish(Status result);
  void learn(const ProbeResult& probe);
  // What keeps the gates shut; empty: nothing. `closed`: a required listener is there but its socket isn't.
  std::string missing(const ProbeResult& probe, bool& closed) const;

  SupervisionOptions options_;
  Backoff backoff_;
  CrashBudget budget_;
  std::vector<SupervisionAction> out_;
  Phase phase_ = Phase::kIdle;
  unsigned turn_ = 0;
  Facts facts_;

  bool stopping_ = false;
  bool first_look_ = false;   // since start()
  bool replaceable_ = false;  // found running then, and not seen LIVE yet
  std::chrono::milliseconds drain_{0};
  Monotonic drain_until_{};
  unsigned idle_counts_ = 0;
  int signal_ = 0;
  unsigned failures_ = 0;  // in a row, of what the phase asks for
  unsigned lost_gates_ = 0;
  Monotonic warm_since_{};
  std::optional<Monotonic> live_without_since_;
  std::optional<Monotonic> closed_since_;
  std::optional<Monotonic> diagnosed_at_;
  std::string diagnosis_;
  std::string waiting_for_;
  bool waiting_live_ = false;
  Monotonic live_since_{};
  std::optional<Monotonic> down_since_;

  std::map<std::string, bool> retired_;  // left to end; true: it drains by itself, in a family of its own
  std::string elder_;                    // runs beside the one at hand, which isn't known to be LIVE yet
  pid_t drained_ = 0;                    // see expect_drained()
  std::string way_back_;                 // what served before one that failed, or what an operator has chosen
  bool chosen_ = false;                  // the latter
  std::string remark_;                   // on the one that serves
  bool leftover_ = false;                // a hand-over failed: the new one may run all the same
  bool unasked_ = false;                 // it serves, but its admin interface is gone
  std::optional<Monotonic> mute_since_;
  Monotonic sign_of_life_{};  // by admin interface or data path
  bool data_asked_ = false;
  unsigned data_failures_ = 0;  // since the last sign of life
  bool hung_ = false;           // it's ended for that
};

// "exit 1", "SIGSEGV": a wait(2) status as text.
std::string exit_text(int status);
// As much of a binary's digest as tells it apart.
std::string digest_text(const std::string& sha256);

}  // namespace hawser::proxy
