// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/interception.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace hawser::broker {
namespace {

std::int64_t unix_ms(Loop::Wall when) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(when.time_since_epoch()).count();
}

}  // namespace

Interception::Interception(Loop& loop, netfilter::Backend& backend, Kernel kernel, Options options)
    : loop_(loop), backend_(backend), kernel_(std::move(kernel)), options_(std::move(options)) {}

std::string Interception::failures(const std::vector<netfilter::ProbeResult>& probes) {
  std::string out;
  for (const auto& probe : probes)
    if (!probe.passed) out += (out.empty() ? "" : "; ") + probe.name + ": " + probe.detail;
  return out;
}

netfilter::Intent Interception::with_exemptions(netfilter::Intent intent) const {
  const auto add = [](std::vector<std::uint32_t>& to, const std::vector<std::uint32_t>& ids) {
    for (const auto id : ids)
      if (std::find(to.begin(), to.end(), id) == to.end()) to.push_back(id);
  };
  add(intent.exempt_uids, options_.exempt_uids);
  add(intent.exempt_gids, options_.exempt_gids);
  return intent;
}

Result<Interception::Applied> Interception::plan(netfilter::Intent intent, std::chrono::seconds confirm, Proxy proxy,
                                                 FailurePolicy on_failure) {
  if (proxy == Proxy::kWithout && intent.capture_outbound && !on_failure.outbound_closed)
    return Error(Code::kInvalidArgument, "HWS-BR-019", "outbound traffic can't be captured without a proxy",
                 "ask for inbound alone, or for outbound to fail closed");
  if (confirm > options_.max_confirm)
    return Error(Code::kInvalidArgument, "HWS-BR-013", "an hour is the longest time to wait for confirmation",
                 "ask for less, or for 0: no time limit");
  intent = with_exemptions(std::move(intent));
  intent.refuse = proxy == Proxy::kWithout;
  auto compiled = netfilter::compile(intent, kernel_.guard());
  if (!compiled) return compiled.error();

  const auto begun = loop_.now();
  PlanRecord::InForce in_force{compiled->digest, std::move(intent), false, 0, false, on_failure};
  if (confirm.count() > 0) in_force.confirm_until = unix_ms(loop_.wall() + confirm);
  if (auto applied = bring_in(*compiled, std::move(in_force)); !applied) return applied.error();
  Applied out;
  out.apply_ms = std::chrono::duration<double, std::milli>(loop_.now() - begun).count();
  out.digest = digest_;
  if (proxy == Proxy::kThere) out.probes = kernel_.probe(backend_, *compiled);
  if (const std::string failed = failures(out.probes); !failed.empty()) {
    (void)withdraw("a probe failed");
    return Error(Code::kFailedPrecondition, "HWS-BR-010",
                 "the rules don't lead to the proxy, so they were withdrawn: " + failed,
                 "is the proxy LIVE, and does it listen on the two ports in each family that is captured?");
  }
  if (confirm.count() > 0) expect_confirmation(confirm);
  log::info("interception applied", {{"digest", digest_}, {"ms", std::to_string(out.apply_ms)}});
  return out;
}

// Recorded first: a broker that finds the rules and no record of them would have to withdraw them.
Status Interception::bring_in(const netfilter::Plan& plan, PlanRecord::InForce in_force) {
  const auto found = backend_.observe();
  const bool there = found && found->rules && found->listing.digest == plan.digest;
  auto before = std::exchange(record_.in_force, std::move(in_force));
  save_record();
  if (auto applied = backend_.apply(plan); !applied) {
    // What was in force before still is, timer included; what doesn't read back is no use to anybody.
    record_.in_force = std::move(before);
    if (applied.error().id() == "HWS-NF-013") {
      (void)withdraw("it doesn't read back");
    } else {
      save_record();
    }
    return applied;
  }
  // Else what is unanswered has met these very rules. Who forgets it all the same may make a firewall drop the answer.
  if (!there) forget_unanswered(plan);
  end_drain(Error(Code::kAborted, "HWS-BR-014", "new rules were applied while the old ones drained", "remove again"));
  confirm_timer_.reset();
  intent_ = record_.in_force->intent;
  digest_ = plan.digest;
  confirmed_ = false;
  return {};
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
  confirm_timer_ = loop_.after(within, [this] { (void)withdraw("it wasn't confirmed in time"); });
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
  confirmed.on_failure = record_.in_force->on_failure;
  confirmed.in_force->confirmed = true;
  confirmed.in_force->confirm_until = 0;
  // Stored first: rules that outlive their timer must be known after a crash.
  if (auto saved = confirmed.save(options_.plan_path); !saved) return saved;
  record_ = std::move(confirmed);
  confirm_timer_.reset();
  confirmed_ = true;
  log::info("interception confirmed", {{"digest", digest_}});
  return {};
}

Status Interception::withdraw(const std::string& why) {
  log::warn("interception withdrawn", {{"why", why}});
  confirm_timer_.reset();
  digest_.clear();
  confirmed_ = false;
  auto removed = backend_.remove_rules();
  if (!removed) log::error("rules can't be removed", {{"error", removed.error().to_string()}});
  record_.in_force.reset();
  save_record();
  start_drain(Patience::kBounded);
  return removed;
}

void Interception::remove(Done done) {
  confirm_timer_.reset();
  digest_.clear();
  confirmed_ = false;
  if (auto removed = backend_.remove_rules(); !removed) return done(removed);
  record_ = {};
  if (auto forgotten = record_.save(options_.plan_path); !forgotten) return done(forgotten);
  log::info("interception removed");
  removing_.push_back(std::move(done));
  // else the one under way answers
  if (!drain_timer_ || patience_ == Patience::kEndless) start_drain(Patience::kBounded);
}

void Interception::start_drain(Patience patience) {
  const auto now = backend_.observe();
  // Without an anchor nothing lives on redirection any more; sockets that were cut off may linger, though.
  if (now && !now->anchor) return end_drain({});
  patience_ = patience;
  drain_end_ = loop_.now() + options_.drain;
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
  auto found = kernel_.redirected(static_cast<std::uint16_t>(intent_.outbound_port),
                                  static_cast<std::uint16_t>(intent_.inbound_port));
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
  return out;
}

void Interception::stop(Rules rules) {
  confirm_timer_.reset();
  end_drain(Error(Code::kCancelled, "HWS-BR-014", "the broker is stopping", "remove again when it runs"));
  drain_timer_.reset();
  if (rules == Rules::kKept) return;
  if (auto removed = backend_.remove_rules(); !removed)
    log::error("rules can't be removed", {{"error", removed.error().to_string()}});
  if (redirected() > 0) return;
  if (auto removed = backend_.remove_anchor(); !removed)
    log::error("the anchor can't be removed", {{"error", removed.error().to_string()}});
}

}  // namespace hawser::broker
