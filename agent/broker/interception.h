// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "broker/plan_record.h"
#include "netfilter/backend.h"
#include "netfilter/plan.h"
#include "netfilter/probe.h"

namespace hawser::broker {

// What: the state of interception: none → applied (unconfirmed) → confirmed → draining → none. Rules that don't pass
// their probe, or that nobody confirms in time, are withdrawn from here: a hawserd that hangs or dies half-way leaves a
// host without interception, not without network. When rules go, the anchor stays until the connections that live on
// redirection have ended, at most `drain`.
// Threading: on the loop. Failure: netfilter's; HWS-BR-010 (probe), HWS-BR-013 (nothing to confirm), HWS-BR-014
// (overtaken). Durability: what is in force is recorded before it's applied, so that a successor that finds the rules
// in the kernel goes on where we were; a confirmed plan is remembered until remove, which needs no configuration.
class Interception {
 public:
  struct Options {
    std::string plan_path = "/var/lib/hawser/netfilter/plan.pb";
    // Added to every intent: the proxy's and the agent's, whatever the intent says.
    std::vector<std::uint32_t> exempt_uids;
    std::vector<std::uint32_t> exempt_gids;
    std::chrono::milliseconds drain{5000};
    std::chrono::milliseconds drain_poll{50};
    std::chrono::seconds max_confirm{3600};
  };
  // What isn't rules: the host around them, as netfilter/guard.h, probe.h and conntrack.h see it.
  struct Kernel {
    std::function<netfilter::Guard()> guard;
    std::function<std::vector<netfilter::ProbeResult>(netfilter::Backend&, const netfilter::Plan&)> probe;
    std::function<Result<std::size_t>(std::uint16_t, std::uint16_t)> redirected;
    std::function<Result<bool>(std::uint16_t)> listening;
    std::function<Result<std::size_t>(const netfilter::Plan&)> forget_unanswered;
  };
  struct Applied {
    std::string digest;
    std::vector<netfilter::ProbeResult> probes;
    double apply_ms = 0;
  };
  struct State {
    bool active = false;
    bool confirmed = false;
    netfilter::Observation kernel;
  };
  using Done = std::function<void(const Status&)>;

  Interception(Loop& loop, netfilter::Backend& backend, Kernel kernel, Options options);

  // Goes on with what a predecessor left in the kernel: its rules as they were recorded, with what is left of the time
  // to confirm. Rules that no record explains are withdrawn, and an anchor alone goes when nothing lives on it any
  // more. Without rules in the kernel nothing is applied, since no proxy may be there.
  Status adopt(PlanRecord record);

  // Replaces whatever is in force. `confirm` zero: without a timer. `kWithout`: nobody can answer a probe, and what is
  // captured is refused.
  enum class Proxy { kThere, kWithout };
  Result<Applied> plan(netfilter::Intent intent, std::chrono::seconds confirm, Proxy proxy = Proxy::kThere,
                       FailurePolicy on_failure = {});
  Status confirm(const std::string& digest);
  void remove(Done done);
  Result<State> observe();
  // The broker ends. Kept rules are the next broker's; the others go, but for the anchor of connections that live on
  // it.
  enum class Rules { kWithdrawn, kKept };
  void stop(Rules rules = Rules::kWithdrawn);
  const char* backend_name() const { return backend_.name(); }

  // For the guardian. A confirmed plan, in force or stored:
  bool guarded() const { return record_.confirmed.has_value(); }
  bool policy_in_force() const { return record_.in_force && record_.in_force->policy; }
  // Something listens on each port that the confirmed plan redirects to.
  bool listeners_bound();
  // The confirmed plan in force and probed; what is in force already isn't touched.
  Status restore();
  Status apply_policy();

 private:
  netfilter::Intent with_exemptions(netfilter::Intent intent) const;
  Status bring_in(const netfilter::Plan& plan, PlanRecord::InForce in_force);
  Status probe_confirmed();
  static std::string failures(const std::vector<netfilter::ProbeResult>& probes);
  bool recorded(const std::string& digest);
  void resume(const PlanRecord::InForce& in_force);
  void expect_confirmation(std::chrono::milliseconds within);
  void forget_unanswered(const netfilter::Plan& plan);
  void save_record();
  Status withdraw(const std::string& why);
  enum class Patience { kBounded, kEndless };
  void start_drain(Patience patience);
  void drain();
  void end_drain(const Status& status);
  std::size_t redirected();

  Loop& loop_;
  netfilter::Backend& backend_;
  Kernel kernel_;
  Options options_;
  PlanRecord record_;
  netfilter::Intent intent_;  // in force, or the last that was
  std::string digest_;        // in force; empty: nothing is
  bool confirmed_ = false;
  std::unique_ptr<Loop::Timer> confirm_timer_;
  std::unique_ptr<Loop::Timer> drain_timer_;
  Loop::Monotonic drain_end_{};
  Patience patience_ = Patience::kBounded;
  std::vector<Done> removing_;
};

}  // namespace hawser::broker
