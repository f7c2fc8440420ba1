// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// The parts of Interception for bad times: what a predecessor left, what nobody confirmed, what others changed, and
// what the guardian decides.
#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "broker/interception.h"
#include "netfilter/explain.h"

namespace hawser::broker {

using std::chrono::milliseconds;

Status Interception::adopt(PlanRecord record) {
  record_ = std::move(record);
  if (record_.in_force) {
    intent_ = record_.in_force->intent;
  } else if (record_.confirmed) {
    intent_ = *record_.confirmed;
  }
  const auto found = backend_.observe();
  if (!found) return found.error();
  if (!found->rules) {
    if (record_.in_force) {  // it went with our predecessor
      record_.in_force.reset();
      save_record();
    }
    if (found->lasting()) start_drain(Patience::kEndless);
    return {};
  }
  if (found->listing.digest.empty() && mended()) return {};
  // One that died between two plans, or a try that nobody knows any more: what was confirmed is still wanted.
  if (!recorded(found->listing.digest)) return give_up("no record explains these rules");
  auto resumed = resume(*record_.in_force);
  // Another backend was chosen since: nobody would ask for rules that are in force already.
  if (resumed && found->others && plan_ && ports_bound(record_.in_force->intent)) return heal();
  return resumed;
}

// Of a predecessor that died between two tables, one has the old rules and the other the new ones; and what no socket
// owns may have been edited meanwhile. The record, which was there before the rules, says what they were to be.
bool Interception::mended() {
  if (!record_.in_force) return false;
  auto compiled = netfilter::compile(record_.in_force->intent, kernel_.guard());
  if (!compiled) return false;
  apply_policy_to(*compiled, record_.in_force->on_failure);
  if (auto applied = backend_.apply(*compiled); !applied) {
    log::warn("rules that are damaged can't be mended", {{"error", applied.error().to_string()}});
    return false;
  }
  log::warn("rules that were damaged are mended");
  record_.in_force->digest = compiled->digest;
  save_record();
  return static_cast<bool>(resume(*record_.in_force));
}

// A predecessor that died between the record and the rules left the ones before, which were the confirmed ones.
bool Interception::recorded(const std::string& digest) {
  if (record_.in_force && record_.in_force->digest == digest) return true;
  if (!record_.confirmed) return false;
  const auto confirmed = netfilter::compile(*record_.confirmed, kernel_.guard());
  if (!confirmed || confirmed->digest != digest) return false;
  record_.in_force = PlanRecord::InForce{digest, *record_.confirmed, true, 0, false, record_.on_failure};
  intent_ = *record_.confirmed;
  save_record();
  return true;
}

Status Interception::resume(const PlanRecord::InForce& in_force) {
  confirmed_ = in_force.confirmed;
  log::info("interception adopted", {{"digest", in_force.digest}, {"confirmed", confirmed_ ? "yes" : "no"}});
  if (in_force.confirm_until != 0) {
    const milliseconds now = std::chrono::duration_cast<milliseconds>(loop_.wall().time_since_epoch());
    const milliseconds left = milliseconds(in_force.confirm_until) - now;
    // Whatever the clock did meanwhile.
    expect_confirmation(std::clamp(left, milliseconds(0), milliseconds(options_.max_confirm)));
  }
  // What a predecessor closed in the end isn't opened again for the same outage.
  const bool closed = in_force.on_failure.inbound_closed && in_force.on_failure.outbound_closed;
  if (in_force.policy && closed) open_until_ = loop_.now();
  if (in_force.policy && in_force.open_until != 0) {
    const milliseconds now = std::chrono::duration_cast<milliseconds>(loop_.wall().time_since_epoch());
    const milliseconds most = std::chrono::seconds(in_force.on_failure.max_open_seconds);
    limit_open(std::clamp(milliseconds(in_force.open_until) - now, milliseconds(0), most));
  }
  digest_ = in_force.digest;
  auto compiled = netfilter::compile(in_force.intent, kernel_.guard());
  // The host has changed since, sshd's ports for one: it's hawserd's to bring a new plan.
  if (!compiled || compiled->digest != in_force.digest) return {};
  apply_policy_to(*compiled, in_force.on_failure);
  const bool ours_alone = !compiled->outbound_stays && !compiled->inbound_stays;
  if (ours_alone || !ports_bound(in_force.intent)) {
    in_force_now(std::move(*compiled));
    // What an owner took with it isn't brought back to a proxy that isn't there.
    if (!ours_alone) drift_.rest();
    return {};
  }
  // Rules without an owner may have been changed while nobody looked, and the others went with their owner.
  plan_ = std::move(*compiled);
  return heal();
}

void Interception::expire() {
  confirm_timer_.reset();
  const bool revert = record_.in_force && record_.in_force->revert;
  if (revert) record_.refused = digest_;
  (void)(revert ? give_up("it wasn't confirmed in time") : withdraw("it wasn't confirmed in time"));
}

// What was tried and is no good gives way to what was good before.
Status Interception::give_up(const std::string& why) {
  const bool tried = !record_.in_force || record_.in_force->revert || digest_.empty();
  if (!tried || !record_.confirmed) return withdraw(why);
  auto back = go_back(why);
  return back ? back : withdraw(back.error().to_string());
}

Status Interception::go_back(const std::string& why) {
  auto compiled = netfilter::compile(*record_.confirmed, kernel_.guard());
  if (!compiled) return compiled.error();
  log::warn("interception goes back to what was confirmed", {{"why", why}, {"digest", compiled->digest}});
  PlanRecord::InForce in_force{compiled->digest, *record_.confirmed, true, 0, false, record_.on_failure};
  if (auto applied = bring_in(std::move(*compiled), std::move(in_force)); !applied) return applied;
  confirmed_ = true;
  return {};
}

void Interception::heard(const std::vector<netfilter::Change>& changes) {
  drift_.heard(changes, backend_.port_id());
}

Result<std::string> Interception::look() {
  auto seen = backend_.observe();
  if (!seen) return seen.error();
  return shape_of(*seen);
}

Status Interception::heal() {
  if (!plan_) return {};
  (void)failpoint::fails("heal.begun", "rules");
  if (auto applied = backend_.repair(*plan_); !applied) return applied;
  ++transactions_;
  (void)failpoint::fails("heal.applied", "rules");
  forget_unanswered(*plan_);
  in_force_now(*plan_);
  return {};
}

std::vector<Interception::Check> Interception::verify() {
  const auto seen = backend_.observe();
  if (!seen) return {{"read back", false, seen.error().to_string()}};
  if (digest_.empty()) return {{"read back", false, "nothing is in force"}};
  std::vector<Check> out;
  const bool same = seen->listing.digest == digest_ && (!plan_ || drift_.expects(shape_of(*seen)));
  out.push_back({"read back", same, same ? "as applied, sha256:" + digest_ : "another program changed the rules"});
  if (!plan_ || intent_.refuse) return out;
  for (const auto& probe : kernel_.probe(backend_, *plan_)) out.push_back({probe.name, probe.passed, probe.detail});
  return out;
}

bool Interception::listeners_bound() {
  if (!record_.confirmed) return false;
  return ports_bound(*record_.confirmed);
}

bool Interception::ports_bound(const netfilter::Intent& plan) {
  const auto bound = [this](std::uint32_t port) {
    if (!kernel_.listening) return false;
    const auto found = kernel_.listening(static_cast<std::uint16_t>(port));
    return found && *found;
  };
  return (!plan.capture_outbound || bound(plan.outbound_port)) && (!plan.capture_inbound || bound(plan.inbound_port));
}

Status Interception::restore() {
  if (!record_.confirmed)
    return Error(Code::kFailedPrecondition, "HWS-BR-013", "there is no confirmed plan to go back to", "apply one");
  if (confirmed_ && !digest_.empty()) return probe_confirmed();
  auto applied = plan(*record_.confirmed, std::chrono::seconds(0), Proxy::kThere, record_.on_failure);
  return applied ? confirm(applied->digest) : Status(applied.error());
}

Status Interception::probe_confirmed() {
  auto compiled = netfilter::compile(intent_, kernel_.guard());
  if (!compiled) return compiled.error();
  const std::string failed = failures(kernel_.probe(backend_, *compiled));
  if (failed.empty()) return {};
  return Error(Code::kFailedPrecondition, "HWS-BR-010", "the rules don't lead to the proxy: " + failed, kProbeHint);
}

FailurePolicy Interception::policy_now() const {
  FailurePolicy out = record_.on_failure;
  if (open_until_ && loop_.now() >= *open_until_) out.inbound_closed = out.outbound_closed = true;
  return out;
}

void Interception::limit_open(milliseconds left) {
  open_until_ = loop_.now() + left;
  open_timer_ = loop_.after(left, [this] { close_open(); });
}

void Interception::end_open() {
  open_timer_.reset();
  open_until_.reset();
}

void Interception::close_open() {
  open_timer_.reset();
  ++opens_closed_;
  log::error("what failed open is refused from now on",
             {{"after_s", std::to_string(record_.on_failure.max_open_seconds)}});
  if (const Status closed = apply_policy(); !closed)
    log::error("it can't be refused", {{"error", closed.error().to_string()}});
}

Interception::Open Interception::open() const {
  if (!open_timer_) return {0, opens_closed_};
  const auto left = std::chrono::duration_cast<milliseconds>(*open_until_ - loop_.now());
  const auto now = std::chrono::duration_cast<milliseconds>(loop_.wall().time_since_epoch());
  return {(now + left).count(), opens_closed_};
}

Status Interception::fail() {
  if (record_.confirmed) return apply_policy();
  (void)withdraw("the proxy stays away, and nothing was confirmed");
  return Error(Code::kFailedPrecondition, "HWS-BR-013", "there is no confirmed plan whose failure policy would apply",
               "apply one");
}

Status Interception::apply_policy() {
  if (!record_.confirmed) return {};
  netfilter::Intent intent = with_exemptions(*record_.confirmed);
  intent.refuse = true;
  const FailurePolicy policy = policy_now();
  const bool open =
      (intent.capture_inbound && !policy.inbound_closed) || (intent.capture_outbound && !policy.outbound_closed);
  // A later attempt of a proxy that fails again doesn't begin the time anew.
  if (open && policy.max_open_seconds > 0 && !open_timer_)
    limit_open(open_until_ ? std::chrono::duration_cast<milliseconds>(*open_until_ - loop_.now())
                           : milliseconds(std::chrono::seconds(policy.max_open_seconds)));
  intent.capture_inbound = intent.capture_inbound && policy.inbound_closed;
  intent.capture_outbound = intent.capture_outbound && policy.outbound_closed;
  if (!intent.capture_inbound && !intent.capture_outbound) return withdraw("it fails open");
  auto compiled = netfilter::compile(intent, kernel_.guard());
  if (!compiled) return compiled.error();
  const std::string inbound = intent.capture_inbound ? "refused" : "open";
  const std::string outbound = intent.capture_outbound ? "refused" : "open";
  PlanRecord::InForce in_force{compiled->digest, std::move(intent), false, 0, true, policy};
  in_force.open_until = this->open().until;
  if (auto applied = bring_in(*compiled, std::move(in_force)); !applied) return applied;
  log::warn("the failure policy is in force", {{"inbound", inbound}, {"outbound", outbound}});
  return {};
}

std::vector<std::string> Interception::rules() const {
  if (!record_.in_force) return {};
  const auto plan = netfilter::compile(record_.in_force->intent, kernel_.guard());
  // sshd may listen elsewhere by now.
  if (!plan || plan->digest != record_.in_force->digest) return {};
  return netfilter::rule_lines(*plan);
}

}  // namespace hawser::broker
