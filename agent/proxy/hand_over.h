// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/loop.h"
#include "proxy/config_feed.h"
#include "proxy/driver.h"
#include "proxy/generation_host.h"
#include "proxy/generation_name.h"
#include "proxy/hand_over_kind.h"

// What: the decisions of replacing a LIVE generation by another: events in, deeds out, no I/O and no clock of its own;
// replacement.h does what it says. What it found on the way are gates, each told once, passed or not.
//
//   looking ─► proving ─► inspecting ─► validating ─► snapshot ─► launching ─► warming ─► checking ─► replaced
//      └──────────┴───────────┴────────────┴────────────┴─► refused   └─► killing ─► reaping ─► aftermath ─► failed
//   hot restart:   snapshot ─► holding ─► launching ─► warming ─► vetting ─► warming
//   side by side:  checking ─► canary ─► replaced           canary ─► leaving ─► reaping ─► failed
//   planned cold:  snapshot ─► draining ─► ending old ─► launching
//
// Side by side both accept until the new one has proved itself; then the old one is drained by whoever follows the
// outcome, so it's called off at any time before. By hot restart the new one drains the old one by itself the moment
// that it's LIVE, so up to LIVE the attempt is called off and from LIVE on it isn't; calling off is SIGKILL and nothing
// else, for on SIGTERM a generation that never was LIVE takes its parent along. The brake is its configuration: its
// listeners are held back until what can be seen of it before LIVE has been looked at. Only a planned cold start
// signals the old one. A mark that an earlier attempt left in the shared memory is taken out when nothing is in flight.
// Threading: none of its own. Failure: HWS-PX-021 (not now), HWS-PX-022 (an earlier attempt left its mark), HWS-PX-023
// (memory), HWS-PX-003 (bootstrap), HWS-PX-024 (the new one isn't LIVE in time, or ended), HWS-PX-026 (the old one
// ended), HWS-PX-027 (called off), HWS-PX-007 (one of them can't be ended), HWS-PX-030 (a listener can't be shared),
// HWS-PX-031 (hot-restart versions differ), HWS-PX-032 (the new one failed its checks), HWS-PX-035 (the new one's
// configuration isn't all there), HWS-PX-036 (too many in an hour), HWS-PX-037 (this kind of proxy can't), HWS-PX-038
// (the old one has refused what the new one would get), HWS-PX-040 (the old one hangs).
namespace hawser::proxy {

struct MemoryRoom {
  std::uint64_t available = 0;  // bytes that the host can still give
  std::uint64_t used = 0;       // by the old generation
  std::uint64_t limit = 0;      // of the new one; 0: none
};

struct HandOverOptions {
  HandOverRequest request;
  GenerationId old_id;
  pid_t old_pid = 0;
  bool cold_allowed = false;       // may it be chosen, or must it be asked for?
  bool queues_move = false;        // accept_queues.h: else a listener that closes resets who waits at it
  unsigned concurrency = 0;        // configured; 0: a worker a core
  std::optional<MemoryRoom> room;  // none: can't be told
  std::vector<std::uint16_t> required_ports;
  std::chrono::milliseconds start_timeout{30000};
  std::chrono::milliseconds poll{20};
  std::chrono::milliseconds end_wait{5000};
  std::chrono::milliseconds canary{5000};  // side by side: as long both serve
  std::chrono::milliseconds drain{5000};   // what connections get before one is ended
  // Hot restart: the old one hangs if nobody has had an answer of it for so long; 0: that isn't looked for.
  std::chrono::milliseconds wedge_after{0};
  std::chrono::milliseconds ask_old{1000};  // how often, while the new one is silent
  Capabilities can;
  bool feed = false;      // is there one (config_feed.h)? Else nothing is known of the configuration, or held back
  unsigned recent = 0;    // hand-overs in the last hour
  unsigned per_hour = 0;  // as many may be asked for; 0: any number
  // A hot restart doesn't begin before, so that two of them don't meet.
  std::optional<Loop::Monotonic> rests_until;
};

namespace hand_over {
enum class Deed {
  kObserve,
  kProbeOld,
  kInspectOld,
  kRepair,
  kValidate,
  kSnapshot,
  kHold,     // the new one's listeners
  kRelease,  // them
  kDrainOld,
  kCountOld,
  kEndOld,   // SIGTERM
  kKillOld,  // SIGKILL
  kLaunch,
  kAskOld,  // its data path
  kProbeNew,
  kInspectNew,
  kAskNew,  // one of its workers
  kDrainNew,
  kEndNew,  // SIGTERM; never one that wasn't LIVE
  kKill,    // the new one, SIGKILL
  kReap,    // the new one
  kWait,
};
struct Action {
  Deed deed = Deed::kObserve;
  std::chrono::milliseconds after{0};  // to wait before it; for kReap: how long it may take
};

struct Observed {
  Result<std::vector<HostedGeneration>> result;
  std::uint64_t memory_max = 0;  // of one that starts now; 0: no limit
};
struct OldProbed {
  Result<ProbeResult> result;
};
struct OldInspected {
  Result<Inspection> result;
};
struct Repaired {
  Status result;
};
struct Validated {
  Result<Validation> result;
};
struct SnapshotSeen {
  Result<ConfigFeed::Snapshot> result;
};
struct Held {
  Status result;
};
struct Drained {
  Status result;
};
struct Counted {
  Result<std::uint64_t> result;
};
struct Launched {
  Result<StartedGeneration> result;
};
struct OldAnswered {
  Status result;
};
struct NewProbed {
  Result<ProbeResult> result;
};
struct NewInspected {
  Result<Inspection> result;
};
struct NewAnswered {
  Status result;
};
struct Killed {
  Status result;
};
struct Reaped {
  Result<ReapedGeneration> result;
};
struct Waited {};
struct NewEnded {};
struct OldEnded {};
struct CallOff {
  std::string why;
};
}  // namespace hand_over
using HandOverEvent =
    std::variant<hand_over::Observed, hand_over::OldProbed, hand_over::OldInspected, hand_over::Repaired,
                 hand_over::Validated, hand_over::SnapshotSeen, hand_over::Held, hand_over::Drained, hand_over::Counted,
                 hand_over::Launched, hand_over::OldAnswered, hand_over::NewProbed, hand_over::NewInspected,
                 hand_over::NewAnswered, hand_over::Killed, hand_over::Reaped, hand_over::Waited, hand_over::NewEnded,
                 hand_over::OldEnded, hand_over::CallOff>;

struct HandOverOutcome {
  std::optional<Error> error;  // none: the new one has taken over; of a plan: nothing stands against it
  HandOverKind kind = HandOverKind::kHotRestart;
  std::string why;         // this kind
  std::string generation;  // the new one's name
  pid_t pid = 0;
  std::string binary_sha256;
  ProbeResult probe;
  bool old_ended = false;
  bool launched = false;        // the new one; whether it came to run or not
  bool new_ended = false;       // by itself
  std::optional<int> new_exit;  // the new one's status, where it was reaped
  bool old_mute = false;        // it serves, but its admin interface is gone, as the protocol has it
  bool old_hung = false;        // it runs, and serves nobody
  std::optional<std::chrono::milliseconds> refused;  // planned cold: as long nobody listened, at most
};

class HandOver {
 public:
  enum class Step {
    kLooking,
    kProving,
    kInspecting,
    kRepairing,
    kValidating,
    kSnapshot,
    kHolding,
    kDraining,
    kEndingOld,
    kLaunching,
    kWarming,
    kVetting,
    kChecking,
    kCanary,
    kLeaving,
    kKilling,
    kReaping,
    kAftermath,
    kDone
  };
  using Monotonic = Loop::Monotonic;

  explicit HandOver(HandOverOptions options);

  std::vector<hand_over::Action> begin(Monotonic now);
  std::vector<hand_over::Action> handle(const HandOverEvent& event, Monotonic now);
  bool done() const { return step_ == Step::kDone; }
  Step step() const { return step_; }
  // The old one serves as if nothing had been.
  bool may_be_called_off() const;
  const HandOverOutcome& outcome() const { return outcome_; }
  // As they were met.
  const std::vector<Gate>& gates() const { return gates_; }
  HandOverKind kind() const { return outcome_.kind; }
  std::string old_name() const { return options_.old_id.text(); }
  std::string new_name() const { return outcome_.generation; }
  const std::string& binary() const { return options_.request.binary_sha256; }
  // By hot restart, of the old one: the new one must have as many, for each has a queue of its own at the listening
  // sockets. Else 0: as configured.
  unsigned workers() const { return workers_; }
  std::chrono::milliseconds start_timeout() const { return options_.start_timeout; }
  // Are its listeners held back now?
  bool holds() const { return held_; }
  unsigned turn() const { return turn_; }  // an answer to a question of an earlier turn is to be dropped

 private:
  friend struct Fingerprint;  // of the tests' exploration

  static constexpr unsigned kMaxAsks = 10;
  static constexpr unsigned kPatience = 3;  // looks in a row
  static constexpr unsigned kSilences = 2;  // of the old one: after a pause of the whole host one is late by itself
  static constexpr auto kAskAgain = std::chrono::milliseconds(200);
  static constexpr auto kSettles = std::chrono::seconds(3);  // what the plane has just said is taken by then
  static constexpr auto kCanaryPoll = std::chrono::milliseconds(250);
  static constexpr auto kCountPoll = std::chrono::milliseconds(50);

  void on(const hand_over::Observed& observed, Monotonic now);
  void on(const hand_over::OldProbed& probed, Monotonic now);
  void on(const hand_over::OldInspected& inspected, Monotonic now);
  void on(const hand_over::Repaired& repaired, Monotonic now);
  void on(const hand_over::Validated& validated, Monotonic now);
  void on(const hand_over::SnapshotSeen& seen, Monotonic now);
  void on(const hand_over::Held& held, Monotonic now);
  void on(const hand_over::Drained& drained, Monotonic now);
  void on(const hand_over::Counted& counted, Monotonic now);
  void on(const hand_over::Launched& launched, Monotonic now);
  void on(const hand_over::OldAnswered& answered, Monotonic now);
  void on(const hand_over::NewProbed& probed, Monotonic now);
  void on(const hand_over::NewInspected& inspected, Monotonic now);
  void on(const hand_over::NewAnswered& answered, Monotonic now);
  void on(const hand_over::Killed& killed, Monotonic now);
  void on(const hand_over::Reaped& reaped, Monotonic now);
  void on(const hand_over::Waited&, Monotonic now);
  void on(const hand_over::NewEnded&, Monotonic now);
  void on(const hand_over::OldEnded&, Monotonic now);
  void on(const hand_over::CallOff& call, Monotonic now);

  void enter(Step step);
  void act(hand_over::Deed deed, std::chrono::milliseconds after = std::chrono::milliseconds(0));
  void finish(std::optional<Error> error);
  bool is(HandOverKind kind) const { return outcome_.kind == kind; }
  void take(HandOverKind kind, std::string why);

  // Tells a gate. Of one that didn't pass, the error is kept where only a plan is made, and ends the attempt elsewhere:
  // then it's false.
  bool gate(std::string name, const std::string& generation, std::optional<Error> error, std::string reason,
            Monotonic now);
  void note(std::string name, const std::string& generation, bool passed, std::string reason, Monotonic now);

  bool seldom_enough(Monotonic now);
  bool choose(Monotonic now);
  bool choose_by_itself(const std::string& unshared, Monotonic now);
  bool room_for_two(Monotonic now);
  enum class Back { kAny, kSideBySide };
  bool fall_back(const std::string& why, Back to = Back::kAny);
  bool hot_restart_fits(Monotonic now);
  bool versions_fit(const Validation& validation, Monotonic now);
  std::optional<Error> trouble_with_old(const Result<ProbeResult>& probe) const;
  std::optional<Error> too_few_workers() const;
  std::optional<Error> too_little_memory() const;
  void validate(Monotonic now);
  void look_at_snapshot(Monotonic now);
  bool configuration_fits(const ConfigFeed::Snapshot& seen, Monotonic now);
  void validated(Monotonic now);
  void launch();
  void release();
  bool old_may_hang(Monotonic now) const;
  void vet(const ProbeResult& probe, Monotonic now);
  void vetted(const Result<Inspection>& inspected, Monotonic now);
  void end_old(Monotonic now);
  void old_is_gone(Monotonic now);
  void old_died(Monotonic now);
  void canary(const Result<ProbeResult>& probe, Monotonic now);
  void aftermath(const Result<ProbeResult>& probe);
  void live(const ProbeResult& probe, bool late, Monotonic now);
  void replaced(Monotonic now);
  void failed_check(const std::string& name, const std::string& reason, Monotonic now);

  void kill(Error cause);
  void leave(Error cause);
  void again_or_give_up(hand_over::Deed deed, const Error& error);
  bool serves(const ProbeResult& probe) const;
  std::string lacks(const ProbeResult& probe) const;
  Error not_live_in_time() const;
  Error left_mark(const Error& cause, bool mute) const;

  HandOverOptions options_;
  Step step_ = Step::kLooking;
  unsigned turn_ = 0;
  unsigned failures_ = 0;
  unsigned workers_ = 0;
  unsigned idle_counts_ = 0;
  Monotonic deadline_{};
  Monotonic gate_since_{};
  Monotonic down_since_{};
  Monotonic old_answered_{};  // its data path, or it was known to serve
  Monotonic old_asked_{};
  unsigned old_silent_ = 0;         // since it answered
  std::optional<ProbeResult> old_;  // none: it can't be asked
  std::optional<Inspection> old_inspection_;
  std::optional<Error> refusal_;  // of a plan
  std::string last_seen_;         // of the new one
  std::optional<Error> cause_;
  bool died_ = false;  // the new one, by itself
  bool repaired_ = false;
  bool held_ = false;
  bool vetted_ = false;
  std::string version_;  // of the binary, as it said when it validated
  std::vector<Gate> gates_;
  HandOverOutcome outcome_;
  std::vector<hand_over::Action> out_;
};
std::string_view step_name(HandOver::Step step);

}  // namespace hawser::proxy
