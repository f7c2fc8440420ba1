// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/plan_record.h"

#include "base/file.h"
#include "broker/intent_proto.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

constexpr std::size_t kMaxPlan = 1U << 20U;

FailurePolicy to_policy(const v1::FailurePolicy& proto) {
  return {proto.inbound_closed(), proto.outbound_closed(), proto.max_open_seconds()};
}

}  // namespace

void to_proto(const FailurePolicy& policy, v1::FailurePolicy& out) {
  out.set_inbound_closed(policy.inbound_closed);
  out.set_outbound_closed(policy.outbound_closed);
  out.set_max_open_seconds(policy.max_open_seconds);
}

Result<PlanRecord> PlanRecord::load(const std::string& path) {
  PlanRecord out;
  if (!file::exists(path)) return out;
  auto bytes = file::read_bounded(path, kMaxPlan);
  if (!bytes) return bytes.error();
  v1::StoredPlan stored;
  if (!stored.ParseFromString(*bytes))
    return Error(Code::kDataLoss, "HWS-BR-015", path + " is damaged", "remove it; nothing else is needed");
  if (stored.has_confirmed()) out.confirmed = to_intent(stored.confirmed());
  out.confirmed_digest = stored.confirmed_digest();
  out.refused = stored.refused();
  if (stored.has_on_failure()) out.on_failure = to_policy(stored.on_failure());
  if (!stored.has_in_force()) return out;
  const auto& in_force = stored.in_force();
  out.in_force = InForce{in_force.digest(),    to_intent(in_force.intent()),
                         in_force.confirmed(), static_cast<std::int64_t>(in_force.confirm_until()),
                         in_force.policy(),    to_policy(in_force.on_failure()),
                         in_force.revert(),    static_cast<std::int64_t>(in_force.open_until())};
  return out;
}

Status PlanRecord::save(const std::string& path) const {
  if (!confirmed && !in_force && refused.empty()) return file::remove_durable(path);
  v1::StoredPlan stored;
  if (confirmed) to_proto(*confirmed, *stored.mutable_confirmed());
  to_proto(on_failure, *stored.mutable_on_failure());
  stored.set_confirmed_digest(confirmed_digest);
  stored.set_refused(refused);
  if (in_force) {
    auto* out = stored.mutable_in_force();
    out->set_digest(in_force->digest);
    to_proto(in_force->intent, *out->mutable_intent());
    out->set_confirmed(in_force->confirmed);
    out->set_confirm_until(static_cast<std::uint64_t>(in_force->confirm_until));
    out->set_policy(in_force->policy);
    to_proto(in_force->on_failure, *out->mutable_on_failure());
    out->set_revert(in_force->revert);
    out->set_open_until(static_cast<std::uint64_t>(in_force->open_until));
  }
  const std::string bytes = stored.SerializeAsString();
  // A hawserd that comes back brings in what is in force already: a full disk must not refuse what needs no space.
  if (const auto there = file::read_bounded(path, kMaxPlan); there && *there == bytes) return {};
  return file::write_atomic(path, bytes, 0600);
}

}  // namespace hawser::broker
