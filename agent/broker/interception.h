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
#include "broker/drift.h"
#include "broker/plan_record.h"
#include "broker/safety.h"
#include "netfilter/backend.h"
#include "netfilter/plan.h"
#include "netfilter/probe.h"

namespace hawser::broker {

// Of HWS-BR-010.
inline constexpr const char* kProbeHint =
    "is the proxy LIVE, does it listen on the two ports in each family that is captured, and does who is asked for "
    "names answer?";

// What: the state of interception: none → applied (unconfirmed) → confirmed → draining → none. Rules that don't pass
// their probe, or that nobody confirms in time, are withdrawn from here: a hawserd that hangs or dies half-way leaves a
// host without interception, not without network. A plan that is only tried gives way to the one that was confirmed
// before. When rules go, the anchor stays until the connections that live on redirection have ended, at most `drain`.
// What others change is healed (drift.h). The same plan once more is no transaction.
// Threading: on the loop. Failure: netfilter's; HWS-BR-010 (probe), HWS-BR-013 (nothing to confirm), HWS-BR-014
// (overtaken), HWS-BR-038 (was tried, and not confirmed). Durability: what is in force is recorded before it's applied,
// so that a successor that finds the rules in the kernel goes on where we were; a confirmed plan is remembered until
// remove, which needs no configuration.
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
    Drift::Options drift = {};
  };
  // What isn't rules: the host around them, as netfilter/guard.h, probe.h and conntrack.h see it.
  struct Kernel {
    std::function<netfilter::Guard()> guard;
    std::function<std::vector<netfilter::ProbeResult>(netfilter::Backend&, const netfilter::Plan&)> probe;
    std::function<Result<std::size_t>(std::uint16_t, std::uint16_t, std::uint32_t mark)> redirected;
    std::function<Result<bool>(std::uint16_t)> listening;
    std::function<Result<std::size_t>(const netfilter::Plan&)> forget_unanswered;
    std::function<std::vector<netfilter::ProbeResult>()> leftovers = {};
    // Of other meshes; none of them: there are none (netfilter/takeover.h).
    std::function<Status()> check_foreign = {};
    std::function<Status(const netfilter::Plan&)> take_over_routing = {};
    std::function<Status(const netfilter::Plan&)> remove_foreign = {};
    Bound bound_udp = {};
    // Rules have come or gone, which takes memory that isn't needed any more.
    std::function<void()> changed = {};
  };
  struct Applied {
    std::string digest;
    std::vector<netfilter::ProbeResult> probes;
    double apply_ms = 0;  // 0: it was in force already
  };
  struct State {
    bool active = false;
    bool confirmed = false;
    bool draining = false;
    netfilter::Observation kernel;
  };
  using Check = netfilter::ProbeResult;
  using Done = std::function<void(const Status&)>;

  Interception(Loop& loop, netfilter::Backend& backend, Kernel kernel, Options options);

  // Goes on with what a predecessor left in the kernel: its rules as they were recorded, with what is left of the time
  // to confirm. Rules that no record explains are withdrawn, and an anchor alone goes when nothing lives on it any
  // more. Without rules in the kernel nothing is applied, since no proxy may be there.
  Status adopt(PlanRecord record);

  // Replaces whatever is in force. `confirm` zero: without a timer. `kWithout`: nobody can answer a probe, and what is
  // captured is refused. `kRevert`: when the time is over, what was confirmed before comes back.
  enum class Proxy { kThere, kWithout };
  // Rules of another mesh: a reason to refuse, or replaced by ours.
  enum class Others { kRefused, kReplaced };
  enum class Unconfirmed { kWithdraw, kRevert };
  struct Terms {
    std::chrono::seconds confirm{0};
    Proxy proxy = Proxy::kThere;
    FailurePolicy on_failure = {};
    Unconfirmed unconfirmed = Unconfirmed::kWithdraw;
    bool by_operator = false;  // who may ask again for what wasn't confirmed
    Others others = Others::kRefused;
    std::vector<Session> sessions = {};
  };
  Result<Applied> plan(netfilter::Intent intent, const Terms& terms);
  Result<Applied> plan(netfilter::Intent intent, std::chrono::seconds confirm, Proxy proxy = Proxy::kThere,
                       FailurePolicy on_failure = {});
  Status confirm(const std::string& digest);
  // `drain` zero: as the options say.
  void remove(Done done, std::chrono::milliseconds drain = {});
  // What the kernel told of changes.
  void heard(const std::vector<netfilter::Change>& changes);
  // Reads back and probes; changes nothing.
  std::vector<Check> verify();
  // What there is of ours, with nothing in force.
  std::vector<Check> leftovers() const { return kernel_.leftovers ? kernel_.leftovers() : std::vector<Check>(); }
  Result<State> observe();
  // Of the plan in force, a line each; none, if that can't be said any more.
  std::vector<std::string> rules() const;
  // The broker ends. Kept rules are the next broker's; the others go, but for the anchor of connections that live on
  // it.
  enum class Rules { kWithdrawn, kKept };
  void stop(Rules rules = Rules::kWithdrawn);
  const netfilter::Backend& backend() const { return backend_; }
  const PlanRecord& record() const { return record_; }
  Drift::View drift() const { return drift_.view(); }
  std::uint64_t transactions() const { return transactions_; }

  // For the guardian. A confirmed plan, in force or stored:
  bool guarded() const { return record_.confirmed.has_value(); }
  bool policy_in_force() const { return record_.in_force && record_.in_force->policy; }
  // Something listens on each port that the confirmed plan redirects to.
  bool listeners_bound();
  // The confirmed plan in force and probed; what is in force already isn't touched.
  Status restore();
  // What is open is closed FailurePolicy::max_open_seconds after the first time, until a plan is confirmed again.
  Status apply_policy();
  // The same by hawserd's word. Without a confirmed plan nothing is kept: HWS-BR-013.
  Status fail();
  struct Open {
    std::int64_t until = 0;    // Unix milliseconds; 0: nothing is open, or for ever
    std::uint32_t closed = 0;  // times
  };
  Open open() const;

 private:
  netfilter::Intent with_exemptions(netfilter::Intent intent) const;
  Status bring_in(netfilter::Plan plan, PlanRecord::InForce in_force);
  bool in_kernel(const netfilter::Plan& plan);
  Status heal();
  Result<std::string> look();
  void in_force_now(netfilter::Plan plan);
  void nothing_in_force();
  void keep_by_socket();
  bool ports_bound(const netfilter::Intent& plan);
  Status check(const netfilter::Plan& plan, const netfilter::Intent& intent, const Terms& terms) const;
  Status check(const netfilter::Intent& intent, const Terms& terms) const;
  void expire();
  Status give_up(const std::string& why);
  Status go_back(const std::string& why);
  Status probe_confirmed();
  FailurePolicy policy_now() const;
  void limit_open(std::chrono::milliseconds left);
  void close_open();
  void end_open();
  // What fails closed stays in the kernel without us.
  static void apply_policy_to(netfilter::Plan& plan, const FailurePolicy& policy);
  static std::string failures(const std::vector<netfilter::ProbeResult>& probes);
  bool recorded(const std::string& digest);
  bool mended();
  Status resume(const PlanRecord::InForce& in_force);
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
  netfilter::Intent intent_;             // in force, or the last that was
  std::string digest_;                   // in force; empty: nothing is
  std::optional<netfilter::Plan> plan_;  // the same
  bool confirmed_ = false;
  std::unique_ptr<Loop::Timer> confirm_timer_;
  std::unique_ptr<Loop::Timer> open_timer_;
  std::optional<Loop::Monotonic> open_until_;  // since the policy came into force, and past it
  std::uint32_t opens_closed_ = 0;
  std::unique_ptr<Loop::Timer> drain_timer_;
  Loop::Monotonic drain_end_{};
  std::chrono::milliseconds drain_time_;
  std::uint64_t transactions_ = 0;
  bool anchored_ = false;  // the anchor was seen with the rules in force
  Drift drift_;
  Patience patience_ = Patience::kBounded;
  std::vector<Done> removing_;
};

}  // namespace hawser::broker
