// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::broker {

// What: decides what the broker does for a captured host that has neither hawserd (its lease) nor a proxy any more:
//
//   watching ── neither for `wait` ──► starting ─► binding ── bound and probed ──► watching
//      ▲  ▲         │ released              │ fails    │ not within `bind`
//      │  │         └───────────────────────┴──────────┴──► policy: the failure policy is in force
//      │  └── listeners bound again, and probed ───────────────┘
//      └───── the lease is renewed: hawserd takes over, from anywhere
//
// The last-good proxy is started once for each outage. It does no I/O: the world is what Actions say it is.
// Threading: on the loop; Actions are called there, never within renew() or release(). Failure: an action's error is
// logged, shown as detail, and leads to the policy; HWS-BR-051 (nothing is known that could be started), HWS-BR-052
// (not bound in time).
class Guardian {
 public:
  struct Options {
    std::chrono::milliseconds wait{10'000};  // without a renewal and without a proxy
    std::chrono::milliseconds bind{20'000};  // for a cold-started proxy's listeners
    std::chrono::milliseconds poll{1'000};
  };
  struct Actions {
    std::function<bool()> guarded;        // is there confirmed interception, in force or stored?
    std::function<bool()> proxy_running;  // any generation
    std::function<bool()> bound;          // its listeners
    std::function<void(std::function<void(Status)>)> cold_start;
    std::function<Status()> restore;  // the confirmed plan in force again, and probed
    std::function<Status()> policy;
  };
  enum class State { kIdle, kWatching, kStarting, kBinding, kPolicy };
  struct View {
    State state = State::kIdle;
    std::string detail;  // of the last decision
    bool lease_alive = false;
    std::uint32_t cold_starts = 0;
    std::uint32_t policies = 0;
  };

  Guardian(Loop& loop, Options options, Actions actions);
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  // A predecessor's decision stands: the proxy isn't started once more for the same outage.
  void start(bool policy_in_force = false);
  void renew();
  // hawserd ends on purpose, and the proxy is to go on. If that ends as well, nobody wants it back.
  void release();
  // hawserd's lease held when its last renewal is no older than `wait`.
  View view() const;

 private:
  void tick();
  void watch();
  void await_binding();
  void look_for_return();
  void act();
  void started(const Status& status);
  void apply_policy(const std::string& why);
  void enter(State state, const std::string& detail);
  bool lease_alive() const;

  Loop& loop_;
  Options options_;
  Actions actions_;
  State state_ = State::kIdle;
  std::string detail_;
  bool released_ = false;
  bool renewed_ = false;  // ever
  Loop::Monotonic last_renewed_{};
  Loop::Monotonic last_alive_{};  // either of both
  Loop::Monotonic deadline_{};    // of starting and of binding; in kPolicy: when to try again
  std::uint32_t cold_starts_ = 0;
  std::uint32_t policies_ = 0;
  std::unique_ptr<Loop::Timer> timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// "idle", "watching", …
const char* to_string(Guardian::State state);

}  // namespace hawser::broker
