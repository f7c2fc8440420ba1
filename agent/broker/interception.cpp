// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/interception.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"

namespace hawser::broker {
namespace {

std::int64_t unix_ms(Loop::Wall when) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
}

}  // namespace

Interception::Interception(Loop& loop, netfilter::Backend& backend, Kernel kernel, Options options)
    : loop_(loop),
      backend_(backend),
      kernel_(std::move(kernel)),
      options_(std::move(options)),
      drain_time_(options_.drain),
      drift_(loop, options_.drift, {[this] { return look(); }, [this] { return heal(); }}) {}

std::string Interception::failures(const std::vector<netfilter::ProbeResult>& probes) {
  std::string out;
  for (const auto& probe : probes)
    if (!probe.passed) out += (out.empty() ? "" : "; ") + probe.name + ": " + probe.detail;
  return out;
}

netfilter::Intent Interception::with_exemptions(netfilter::Intent intent) const {
  const auto add = [](auto& to, const std::vector<std::uint32_t>& ids) {
    for (const auto id : ids)
      if (std::find(to.begin(), to.end(), id) == to.end()) to.push_back(id);
  };
  add(intent.exempt_uids, options_.exempt_uids);
  add(intent.exempt_gids, options_.exempt_gids);
  return intent;
}

Result<Interception::Applied> Interception::plan(netfilter::Intent intent, std::chrono::seconds confirm, Proxy proxy,
                                                 FailurePolicy on_failure) {
  return plan(std::move(intent), Terms{confirm, proxy, on_failure});
}

Status Interception::check(const netfilter::Intent& intent, const Terms& terms) const {
  if (terms.proxy == Proxy::kWithout && intent.capture_outbound && !terms.on_failure.outbound_closed)
    return Error(Code::kInvalidArgument, "HWS-BR-019", "outbound traffic can't be captured without a proxy",
                 "ask for inbound alone, or for outbound to fail closed");
  if (terms.confirm > options_.max_confirm)
    return Error(Code::kInvalidArgument, "HWS-BR-013", "an hour is the longest time to wait for confirmation",
                 "ask for less, or for 0: no time limit");
  return {};
}

Status Interception::check(const netfilter::Plan& plan, const netfilter::Intent& intent, const Terms& terms) const {
  if (plan.digest == record_.refused && !terms.by_operator)
    return Error(Code::kFailedPrecondition, "HWS-BR-038", "this plan was tried, and not confirmed in its time",
                 "put interception's settings back as they were, or `hawser intercept apply`");
  if (auto fine = check_sessions(plan, terms.sessions); !fine) return fine;
  if (auto fine = check_never(plan, intent.never); !fine) return fine;
  if (terms.proxy == Proxy::kWithout) return {};
  return check_dns(plan, kernel_.bound_udp, kernel_.listening);
}

Result<Interception::Applied> Interception::plan(netfilter::Intent intent, const Terms& terms) {
  if (auto fine = check(intent, terms); !fine) return fine.error();
  intent = with_exemptions(std::move(intent));
  intent.refuse = terms.proxy == Proxy::kWithout;
  auto compiled = netfilter::compile(intent, kernel_.guard());
  if (!compiled) return compiled.error();
  if (auto fine = check(*compiled, intent, terms); !fine) return fine.error();
  const bool replace = terms.others == Others::kReplaced && kernel_.remove_foreign;
  if (!replace && kernel_.check_foreign)
    if (auto alone = kernel_.check_foreign(); !alone) return alone.error();
  if (replace)
    if (auto taken = kernel_.take_over_routing(*compiled); !taken) return taken.error();

  const auto begun = loop_.now();
  const auto transactions = transactions_;
  PlanRecord::InForce in_force{compiled->digest, std::move(intent), false, 0, false, terms.on_failure};
  in_force.revert = terms.unconfirmed == Unconfirmed::kRevert;
  if (terms.confirm.count() > 0) in_force.confirm_until = unix_ms(loop_.wall() + terms.confirm);
  if (auto applied = bring_in(*compiled, std::move(in_force)); !applied) return applied.error();
  // Ours decide already, so nothing gets past both.
  if (replace) {
    if (auto removed = kernel_.remove_foreign(*compiled); !removed) {
      (void)give_up("another mesh's rules can't be removed");
      return removed.error();
    }
  }
  Applied out;
  if (transactions_ != transactions)
    out.apply_ms = std::chrono::duration<double, std::milli>(loop_.now() - begun).count();
  out.digest = digest_;
  if (terms.proxy == Proxy::kThere) out.probes = kernel_.probe(backend_, *compiled);
  if (const std::string failed = failures(out.probes); !failed.empty()) {
    (void)give_up("a probe failed");
    return Error(Code::kFailedPrecondition, "HWS-BR-010",
                 "the rules don't lead to the proxy, so they were withdrawn: " + failed, kProbeHint);
  }
  if (terms.confirm.count() > 0) expect_confirmation(terms.confirm);
  log::info("interception applied", {{"digest", digest_}, {"ms", std::to_string(out.apply_ms)}});
  return out;
}

void Interception::apply_policy_to(netfilter::Plan& plan, const FailurePolicy& policy) {
  plan.outbound_stays = plan.outbound && policy.outbound_closed;
  plan.inbound_stays = plan.inbound && policy.inbound_closed;
}

// Recorded first: a broker that finds the rules and no record of them would have to withdraw them.
Status Interception::bring_in(netfilter::Plan plan, PlanRecord::InForce in_force) {
  apply_policy_to(plan, in_force.on_failure);
  const bool unchanged = in_kernel(plan);
  const auto found = backend_.observe();
  const bool there = found && found->rules && found->listing.digest == plan.digest;
  auto before = std::exchange(record_.in_force, std::move(in_force));
  save_record();
  (void)failpoint::fails("plan.recorded", "rules");
  if (!unchanged) {
    if (auto applied = there ? backend_.repair(plan) : backend_.apply(plan); !applied) {
      // What was in force before still is, timer included; what doesn't read back is no use to anybody.
      record_.in_force = std::move(before);
      if (applied.error().id() == "HWS-NF-013") {
        (void)withdraw("it doesn't read back");
      } else {
        save_record();
      }
      return applied;
    }
    ++transactions_;
    (void)failpoint::fails("plan.applied", "rules");
    // Else what is unanswered has met these very rules. Who forgets it all the same may make a firewall drop the
    // answer.
    if (!there) forget_unanswered(plan);
  }
  end_drain(Error(Code::kAborted, "HWS-BR-014", "new rules were applied while the old ones drained", "remove again"));
  confirm_timer_.reset();
  if (!record_.in_force->policy) open_timer_.reset();
  intent_ = record_.in_force->intent;
  confirmed_ = false;
  in_force_now(std::move(plan));
  (void)failpoint::fails("plan.in_force", "rules");
  return {};
}

// The very plan, and nobody has changed a thing.
bool Interception::in_kernel(const netfilter::Plan& plan) {
  if (!plan_ || plan_->digest != plan.digest || plan_->outbound_stays != plan.outbound_stays ||
      plan_->inbound_stays != plan.inbound_stays)
    return false;
  const auto now = look();
  return now && drift_.expects(*now);
}

void Interception::in_force_now(netfilter::Plan plan) {
  if (kernel_.changed) kernel_.changed();
  digest_ = plan.digest;
  plan_ = std::move(plan);
  const auto seen = backend_.observe();
  // Somebody changes them this very moment: what is there is seen, and mended, with the next look.
  if (!seen) return drift_.expect(std::string());
  // Somebody may be quicker than our look: what misses a part is no pattern for later ones.
  const bool whole = seen->rules && seen->listing.digest == digest_ && (seen->anchor || !anchored_);
  anchored_ = anchored_ || seen->anchor;
  drift_.expect(whole ? shape_of(*seen) : std::string());
}

void Interception::nothing_in_force() {
  if (kernel_.changed) kernel_.changed();
  confirm_timer_.reset();
  digest_.clear();
  plan_.reset();
  anchored_ = false;
  confirmed_ = false;
  drift_.rest();
}

// Programs that began to connect before the rules were there (again) are served with their next attempt. Rules are of
// use without it, so it's no reason to refuse them.
void Interception::forget_unanswered(const netfilter::Plan& plan) {
  const auto forgotten = kernel_.forget_unanswered(plan);
  if (!forgotten) {
    log::warn("connections that wait for an answer aren't intercepted", {{"error", forgotten.error().to_string()}});
  } else if (*forgotten > 0) {
    log::info("connections that wait for an answer are intercepted", {{"connections", std::to_string(*forgotten)}});
  }
}

void Interception::expect_confirmation(std::chrono::milliseconds within) {
  confirm_timer_ = loop_.after(within, [this] { expire(); });
}

void Interception::save_record() {
  if (auto saved = record_.save(options_.plan_path); !saved)
    log::warn("what is in force can't be recorded, so a restart of the broker will withdraw it",
              {{"error", saved.error().to_string()}});
}

Status Interception::confirm(const std::string& digest) {
  if (digest_.empty() || digest != digest_ || !record_.in_force)
    return Error(Code::kFailedPrecondition, "HWS-BR-013", "these rules aren't in force (any more)", "apply them again");
  PlanRecord confirmed = record_;
  confirmed.confirmed = intent_;
  confirmed.confirmed_digest = digest_;
  confirmed.refused.clear();
  confirmed.on_failure = record_.in_force->on_failure;
  confirmed.in_force->confirmed = true;
  confirmed.in_force->confirm_until = 0;
  confirmed.in_force->revert = false;
  // Stored first: rules that outlive their timer must be known after a crash.
  if (auto saved = confirmed.save(options_.plan_path); !saved) return saved;
  (void)failpoint::fails("confirm.recorded", "rules");
  record_ = std::move(confirmed);
  end_open();
  confirm_timer_.reset();
  confirmed_ = true;
  log::info("interception confirmed", {{"digest", digest_}});
  return {};
}

Status Interception::withdraw(const std::string& why) {
  log::warn("interception withdrawn", {{"why", why}});
  nothing_in_force();
  auto removed = backend_.remove_rules();
  if (!removed) log::error("rules can't be removed", {{"error", removed.error().to_string()}});
  (void)failpoint::fails("withdraw.removed", "rules");
  record_.in_force.reset();
  save_record();
  start_drain(Patience::kBounded);
  return removed;
}

void Interception::remove(Done done, std::chrono::milliseconds drain) {
  nothing_in_force();
  end_open();
  if (auto removed = backend_.remove_rules(); !removed) return done(removed);
  record_ = {};
  if (auto forgotten = record_.save(options_.plan_path); !forgotten) return done(forgotten);
  (void)failpoint::fails("remove.recorded", "rules");
  drain_time_ = drain.count() > 0 ? drain : options_.drain;
  log::info("interception removed");
  removing_.push_back(std::move(done));
  // else the one under way answers
  if (!drain_timer_ || patience_ == Patience::kEndless) start_drain(Patience::kBounded);
}

void Interception::start_drain(Patience patience) {
  const auto now = backend_.observe();
  // Without an anchor nothing lives on redirection any more; sockets that were cut off may linger, though.
  if (now && !now->lasting()) return end_drain({});
  patience_ = patience;
  drain_end_ = loop_.now() + drain_time_;
  drain_time_ = options_.drain;
  drain();
}

void Interception::drain() {
  drain_timer_.reset();
  const std::size_t left = redirected();
  const bool endless = patience_ == Patience::kEndless;
  if (left > 0 && (endless || loop_.now() < drain_end_)) {
    drain_timer_ = loop_.after(endless ? options_.drain : options_.drain_poll, [this] { drain(); });
    return;
  }
  if (left > 0) log::warn("connections are cut off after the drain time", {{"connections", std::to_string(left)}});
  auto removed = backend_.remove_anchor();
  if (!removed) log::error("the anchor can't be removed", {{"error", removed.error().to_string()}});
  end_drain(removed);
}

void Interception::end_drain(const Status& status) {
  drain_timer_.reset();
  const auto waiting = std::move(removing_);
  removing_.clear();
  for (const Done& done : waiting) done(status);
}

std::size_t Interception::redirected() {
  const bool tproxy = intent_.capture_inbound && intent_.inbound_mode == netfilter::InboundMode::kTproxy;
  auto found = kernel_.redirected(static_cast<std::uint16_t>(intent_.outbound_port),
                                  static_cast<std::uint16_t>(intent_.inbound_port), tproxy ? intent_.tproxy.mark : 0);
  if (found) return *found;
  log::warn("can't count redirected connections", {{"error", found.error().to_string()}});
  return 1;  // unknown: the whole drain time is waited
}

Result<Interception::State> Interception::observe() {
  auto kernel = backend_.observe();
  if (!kernel) return kernel.error();
  State out;
  out.kernel = std::move(*kernel);
  // The failure policy isn't what hawserd asked for: it has to apply its plan again.
  out.active = !digest_.empty() && !policy_in_force() && out.kernel.rules && out.kernel.listing.digest == digest_;
  out.confirmed = out.active && confirmed_;
  out.draining = drain_timer_ != nullptr;
  return out;
}

void Interception::stop(Rules rules) {
  confirm_timer_.reset();
  open_timer_.reset();
  drift_.rest();
  end_drain(Error(Code::kCancelled, "HWS-BR-014", "the broker is stopping", "remove again when it runs"));
  drain_timer_.reset();
  if (rules == Rules::kKept) return keep_by_socket();
  if (auto removed = backend_.remove_rules(); !removed)
    log::error("rules can't be removed", {{"error", removed.error().to_string()}});
  if (redirected() > 0) return;
  if (auto removed = backend_.remove_anchor(); !removed)
    log::error("the anchor can't be removed", {{"error", removed.error().to_string()}});
}

// A stop on purpose is a way out for an operator who knows only systemctl: what nobody owns would stay. So all of it
// goes to the socket, which a successor gets and which systemd closes when there is none.
void Interception::keep_by_socket() {
  if (!plan_ || (!plan_->outbound_stays && !plan_->inbound_stays)) return;
  auto plan = *plan_;
  plan.outbound_stays = plan.inbound_stays = false;
  if (auto kept = backend_.repair(plan); !kept)
    log::warn("rules that fail closed outlive the broker", {{"error", kept.error().to_string()}});
}

}  // namespace hawser::broker
