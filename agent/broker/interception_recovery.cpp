// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// The parts of Interception for bad times: what a predecessor left, and what the guardian decides.
#include <algorithm>

#include "base/log.h"
#include "broker/interception.h"

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
    if (found->anchor) start_drain(Patience::kEndless);
    return {};
  }
  if (!recorded(found->listing.digest)) return withdraw("no record explains these rules");
  resume(*record_.in_force);
  return {};
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

void Interception::resume(const PlanRecord::InForce& in_force) {
  digest_ = in_force.digest;
  confirmed_ = in_force.confirmed;
  log::info("interception adopted", {{"digest", digest_}, {"confirmed", confirmed_ ? "yes" : "no"}});
  if (in_force.confirm_until == 0) return;
  const milliseconds now = std::chrono::duration_cast<milliseconds>(loop_.wall().time_since_epoch());
  const milliseconds left = milliseconds(in_force.confirm_until) - now;
  // Whatever the clock did meanwhile.
  expect_confirmation(std::clamp(left, milliseconds(0), milliseconds(options_.max_confirm)));
}

bool Interception::listeners_bound() {
  if (!record_.confirmed || !kernel_.listening) return false;
  const auto& plan = *record_.confirmed;
  const auto bound = [this](std::uint32_t port) {
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
  return Error(Code::kFailedPrecondition, "HWS-BR-010", "the rules don't lead to the proxy: " + failed,
               "is the proxy LIVE, and does it listen on the two ports in each family that is captured?");
}

Status Interception::apply_policy() {
  if (!record_.confirmed) return {};
  netfilter::Intent intent = with_exemptions(*record_.confirmed);
  intent.refuse = true;
  intent.capture_inbound = intent.capture_inbound && record_.on_failure.inbound_closed;
  intent.capture_outbound = intent.capture_outbound && record_.on_failure.outbound_closed;
  if (!intent.capture_inbound && !intent.capture_outbound) return withdraw("it fails open");
  auto compiled = netfilter::compile(intent, kernel_.guard());
  if (!compiled) return compiled.error();
  const std::string inbound = intent.capture_inbound ? "refused" : "open";
  const std::string outbound = intent.capture_outbound ? "refused" : "open";
  if (auto applied = bring_in(*compiled, {compiled->digest, std::move(intent), false, 0, true, record_.on_failure});
      !applied)
    return applied;
  log::warn("the failure policy is in force", {{"inbound", inbound}, {"outbound", outbound}});
  return {};
}

}  // namespace hawser::broker
