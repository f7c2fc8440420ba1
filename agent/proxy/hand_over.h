// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/loop.h"
#include "proxy/driver.h"
#include "proxy/generation_host.h"
#include "proxy/generation_name.h"

// What: the decisions of replacing a LIVE generation by the next epoch, by the proxy's own hot-restart protocol: events
// in, deeds out, no I/O and no clock of its own; replacement.h does what it says.
//
//   looking ─► proving ─► validating ─► launching ─► warming ─► replaced
//      └──────────┴───────────┴─► refused    └─► killing ─► reaping ─► aftermath ─► failed
//
// The new one drains the old one by itself the moment that it's LIVE, so up to LIVE the attempt is called off and from
// LIVE on it isn't. Calling off is SIGKILL and nothing else: on SIGTERM a generation that never was LIVE takes its
// parent along. The old one is never signalled.
// Threading: none of its own. Failure: HWS-PX-021 (not now), HWS-PX-022 (an earlier attempt left its mark), HWS-PX-023
// (memory), HWS-PX-003 (bootstrap), HWS-PX-024 (the new one isn't LIVE in time, or ended), HWS-PX-026 (the old one
// ended), HWS-PX-027 (called off), HWS-PX-007 (the new one can't be ended).
namespace hawser::proxy {

struct MemoryRoom {
  std::uint64_t available = 0;  // bytes that the host can still give
  std::uint64_t used = 0;       // by the old generation
};

struct HandOverOptions {
  GenerationId old_id;
  pid_t old_pid = 0;
  unsigned concurrency = 0;        // configured; 0: a worker a core
  std::optional<MemoryRoom> room;  // none: can't be told
  std::vector<std::uint16_t> required_ports;
  std::chrono::milliseconds start_timeout{30000};
  std::chrono::milliseconds poll{20};
  std::chrono::milliseconds end_wait{5000};
};

namespace hand_over {
enum class Deed { kObserve, kProbeOld, kValidate, kLaunch, kProbeNew, kKill, kReap };
struct Action {
  Deed deed = Deed::kObserve;
  std::chrono::milliseconds after{0};  // to wait before it; for kReap: how long it may take
};

struct Observed {
  Result<std::vector<HostedGeneration>> result;
};
struct OldProbed {
  Result<ProbeResult> result;
};
struct Validated {
  Result<Validation> result;
};
struct Launched {
  Result<StartedGeneration> result;
};
struct NewProbed {
  Result<ProbeResult> result;
};
struct Killed {
  Status result;
};
struct Reaped {
  Result<ReapedGeneration> result;
};
struct NewEnded {};
struct OldEnded {};
struct CallOff {};
}  // namespace hand_over
using HandOverEvent = std::variant<hand_over::Observed, hand_over::OldProbed, hand_over::Validated, hand_over::Launched,
                                   hand_over::NewProbed, hand_over::Killed, hand_over::Reaped, hand_over::NewEnded,
                                   hand_over::OldEnded, hand_over::CallOff>;

struct HandOverOutcome {
  std::optional<Error> error;  // none: the new one has taken over
  pid_t pid = 0;
  std::string binary_sha256;
  ProbeResult probe;
  bool old_ended = false;
  bool old_mute = false;  // it serves, but its admin interface is gone, as the protocol has it
};

class HandOver {
 public:
  enum class Step { kLooking, kProving, kValidating, kLaunching, kWarming, kKilling, kReaping, kAftermath, kDone };
  using Monotonic = Loop::Monotonic;

  explicit HandOver(HandOverOptions options);

  std::vector<hand_over::Action> begin();
  std::vector<hand_over::Action> handle(const HandOverEvent& event, Monotonic now);
  bool done() const { return step_ == Step::kDone; }
  Step step() const { return step_; }
  const HandOverOutcome& outcome() const { return outcome_; }
  std::string old_name() const { return options_.old_id.text(); }
  std::string new_name() const { return new_id_.text(); }
  // Of the old one: the new one must have as many, for each has a queue of its own at the listening sockets.
  unsigned workers() const { return workers_; }
  unsigned turn() const { return turn_; }  // an answer to a question of an earlier turn is to be dropped

 private:
  friend struct Fingerprint;  // of the tests' exploration

  static constexpr unsigned kMaxAsks = 10;
  static constexpr unsigned kAftermathLooks = 3;
  static constexpr auto kAskAgain = std::chrono::milliseconds(200);

  void on(const hand_over::Observed& observed, Monotonic now);
  void on(const hand_over::OldProbed& probed, Monotonic now);
  void on(const hand_over::Validated& validated, Monotonic now);
  void on(const hand_over::Launched& launched, Monotonic now);
  void on(const hand_over::NewProbed& probed, Monotonic now);
  void on(const hand_over::Killed& killed, Monotonic now);
  void on(const hand_over::Reaped& reaped, Monotonic now);
  void on(const hand_over::NewEnded&, Monotonic now);
  void on(const hand_over::OldEnded&, Monotonic now);
  void on(const hand_over::CallOff&, Monotonic now);

  void enter(Step step);
  void act(hand_over::Deed deed, std::chrono::milliseconds after = std::chrono::milliseconds(0));
  void finish(std::optional<Error> error);
  void kill(Error cause);
  void again_or_give_up(hand_over::Deed deed, const Error& error);
  std::optional<Error> judge_old(const ProbeResult& probe) const;
  bool serves(const ProbeResult& probe) const;
  Error not_live_in_time() const;
  Error left_mark(const Error& cause, bool mute) const;

  HandOverOptions options_;
  GenerationId new_id_;
  Step step_ = Step::kLooking;
  unsigned turn_ = 0;
  unsigned failures_ = 0;
  unsigned workers_ = 0;
  Monotonic deadline_{};
  std::string last_seen_;  // of the new one
  std::optional<Error> cause_;
  bool died_ = false;  // the new one, by itself
  HandOverOutcome outcome_;
  std::vector<hand_over::Action> out_;
};
std::string_view step_name(HandOver::Step step);

}  // namespace hawser::proxy
