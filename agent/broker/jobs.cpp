// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/jobs.h"

#include <algorithm>

#include "base/log.h"
#include "broker/failure.h"
#include "broker/intent_proto.h"
#include "broker/plan_record.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

constexpr std::uint32_t kLongestDrainMs = 24U * 3600U * 1000U;

v1::Response failed(const Error& error) {
  v1::Response out;
  to_proto(error, *out.mutable_failure());
  log::debug("a request failed", {{"error", error.to_string()}});
  return out;
}

v1::Response of_status(const Status& status) {
  return status ? v1::Response() : failed(status.error());
}

void fill(const proxy::GenerationState& state, v1::Generation& out) {
  out.set_name(state.name);
  out.set_pid(static_cast<std::uint32_t>(state.pid));
  out.set_running(state.running);
  out.set_exit_status(state.exit_status);
  out.set_binary_sha256(state.binary_sha256);
  out.set_started_at(state.started_at);
  for (auto& word : permit_words(state.permits)) out.add_permits(std::move(word));
}

FailurePolicy to_policy(const v1::PlanRequest& request) {
  if (!request.has_on_failure()) return {};
  const auto& policy = request.on_failure();
  return {policy.inbound_closed(), policy.outbound_closed(), policy.max_open_seconds()};
}

Interception::Terms to_terms(const v1::PlanRequest& request) {
  Interception::Terms out;
  out.confirm = std::chrono::seconds(request.confirm_seconds());
  if (request.without_proxy()) out.proxy = Interception::Proxy::kWithout;
  out.on_failure = to_policy(request);
  if (request.revert()) out.unconfirmed = Interception::Unconfirmed::kRevert;
  out.by_operator = request.by_operator();
  if (request.takeover()) out.others = Interception::Others::kReplaced;
  for (const auto& session : request.sessions())
    out.sessions.push_back({session.peer(), session.peer_port(), session.local(), session.local_port()});
  return out;
}

void fill(const Drift::View& view, v1::Drift& out) {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  out.set_found(view.found);
  out.set_healed(view.healed);
  out.set_failed(view.failed);
  out.set_backing_off(view.backing_off);
  out.set_what(view.what);
  out.set_program(view.program);
  if (view.found > 0)
    out.set_found_at(static_cast<std::uint64_t>(duration_cast<milliseconds>(view.found_at.time_since_epoch()).count()));
}

template <typename Checks>
void fill(const std::vector<Interception::Check>& checks, Checks& out) {
  for (const auto& check : checks) {
    auto* added = out.add_checks();
    added->set_name(check.name);
    added->set_passed(check.passed);
    added->set_detail(check.detail);
  }
}

// Of what is in force, as it was recorded.
void fill(const PlanRecord& record, v1::ObserveResponse& out) {
  out.set_stored_digest(record.confirmed ? record.confirmed_digest : std::string());
  if (!record.in_force) return;
  out.set_confirm_until(static_cast<std::uint64_t>(record.in_force->confirm_until));
  out.set_revert(record.in_force->revert);
  out.set_policy(record.in_force->policy);
  to_proto(record.in_force->on_failure, *out.mutable_on_failure());
}

void fill(const Guardian::View& view, v1::Guardian& out) {
  out.set_state(to_string(view.state));
  out.set_detail(view.detail);
  out.set_lease_alive(view.lease_alive);
  out.set_cold_starts(view.cold_starts);
  out.set_policies(view.policies);
}

Generations::Wanted wanted(const v1::StartRequest& request) {
  return {request.generation(),
          request.bootstrap(),
          request.binary_sha256(),
          {request.args().begin(), request.args().end()}};
}

}  // namespace

void Jobs::handle(const v1::Request& request, Answer answer) {
  switch (request.job_case()) {
    case v1::Request::kPlan:
      return plan(request, answer);
    case v1::Request::kConfirm:
      return confirm(request, answer);
    case v1::Request::kRemove:
      return remove(request, std::move(answer));
    case v1::Request::kObserve:
      return observe(request.observe().rules(), answer);
    case v1::Request::kValidate:
      return validate(request, std::move(answer));
    case v1::Request::kStart:
      return start(request, std::move(answer));
    case v1::Request::kSignal:
      return answer(
          of_status(generations_.signal(request.signal().generation(), static_cast<int>(request.signal().signal()))));
    case v1::Request::kReap:
      return reap(request, std::move(answer));
    case v1::Request::kLease:
      return lease(request, answer);
    case v1::Request::kVerify:
      return verify(answer);
    case v1::Request::kRepair:
      return generations_.repair(request.repair().generation(),
                                 [answer = std::move(answer)](const Status& status) { answer(of_status(status)); });
    case v1::Request::kBinary:
      return binary(request, answer);
    case v1::Request::JOB_NOT_SET:
      break;
  }
  answer(failed(Error(Code::kUnimplemented, "HWS-BR-005", "the broker doesn't know this request",
                      "hawserd and hawser-broker must be of the same release")));
}

void Jobs::plan(const v1::Request& request, const Answer& answer) {
  if (request.plan().restore()) return restore(answer);
  if (request.plan().fail()) return answer(of_status(interception_.fail()));
  auto applied = interception_.plan(to_intent(request.plan().intent()), to_terms(request.plan()));
  if (!applied) return answer(failed(applied.error()));
  v1::Response out;
  auto* plan = out.mutable_plan();
  plan->set_digest(applied->digest);
  plan->set_apply_ms(applied->apply_ms);
  for (const auto& probe : applied->probes) {
    auto* added = plan->add_probes();
    added->set_name(probe.name);
    added->set_passed(probe.passed);
    added->set_detail(probe.detail);
  }
  answer(out);
}

void Jobs::restore(const Answer& answer) {
  if (auto restored = interception_.restore(); !restored) return answer(failed(restored.error()));
  v1::Response out;
  out.mutable_plan()->set_digest(interception_.record().confirmed_digest);
  answer(out);
}

void Jobs::confirm(const v1::Request& request, const Answer& answer) {
  const auto confirmed = interception_.confirm(request.confirm().digest());
  if (confirmed) generations_.remember_good();
  answer(of_status(confirmed));
}

void Jobs::remove(const v1::Request& request, Answer answer) {
  generations_.forget_good();
  interception_.remove(
      [this, answer = std::move(answer)](const Status& status) {
        if (!status) return answer(failed(status.error()));
        v1::Response out;
        fill(interception_.leftovers(), *out.mutable_remove());
        answer(out);
      },
      std::chrono::milliseconds(std::min(request.remove().drain_ms(), kLongestDrainMs)));
}

void Jobs::verify(const Answer& answer) {
  v1::Response out;
  fill(interception_.verify(), *out.mutable_verify());
  answer(out);
}

void Jobs::lease(const v1::Request& request, const Answer& answer) {
  if (request.lease().release()) {
    guardian_.release();
  } else {
    guardian_.renew();
  }
  answer(v1::Response());
}

void Jobs::observe(bool with_rules, const Answer& answer) {
  auto state = interception_.observe();
  if (!state) return answer(failed(state.error()));
  v1::Response out;
  auto* observed = out.mutable_observe();
  observed->set_backend(interception_.backend().name());
  observed->set_backend_reason(interception_.backend().reason());
  observed->set_transactions(interception_.transactions());
  observed->set_draining(state->draining);
  fill(interception_.record(), *observed);
  observed->set_open_until(static_cast<std::uint64_t>(interception_.open().until));
  observed->set_opens_closed(interception_.open().closed);
  fill(interception_.drift(), *observed->mutable_drift());
  observed->set_active(state->active);
  observed->set_confirmed(state->confirmed);
  observed->set_digest(state->kernel.listing.digest);
  observed->set_ruleset(state->kernel.text);
  if (with_rules)
    for (auto& rule : interception_.rules()) observed->add_rules(std::move(rule));
  for (const auto& [purpose, traffic] : state->kernel.listing.counters) {
    auto* counter = observed->add_counters();
    counter->set_purpose(purpose);
    counter->set_packets(traffic.packets);
    counter->set_bytes(traffic.bytes);
  }
  for (const auto& generation : generations_.list()) fill(generation, *observed->add_generations());
  for (auto& word : permit_words(generations_.permits())) observed->add_proxy_permits(std::move(word));
  observed->set_proxy_memory_max(generations_.memory_max());
  observed->set_current_sha256(generations_.binaries().target(proxy::BinaryLink::kCurrent));
  observed->set_last_good_sha256(generations_.binaries().target(proxy::BinaryLink::kLastGood));
  observed->set_requests_refused(refused_());
  fill(guardian_.view(), *observed->mutable_guardian());
  answer(out);
}

void Jobs::validate(const v1::Request& request, Answer answer) {
  const auto& asked = request.validate();
  generations_.validate(
      {asked.generation(), asked.bootstrap(), asked.binary_sha256(), {asked.args().begin(), asked.args().end()}},
      [answer = std::move(answer)](const Result<Generations::Validation>& result) {
        if (!result) return answer(failed(result.error()));
        v1::Response out;
        out.mutable_validate()->set_valid(result->valid);
        out.mutable_validate()->set_detail(result->detail);
        out.mutable_validate()->set_version(result->version);
        out.mutable_validate()->set_hot_restart_version(result->hot_restart_version);
        answer(out);
      });
}

void Jobs::start(const v1::Request& request, Answer answer) {
  generations_.start(wanted(request.start()),
                     [answer = std::move(answer)](const Result<proxy::GenerationState>& state) {
                       if (!state) return answer(failed(state.error()));
                       v1::Response out;
                       out.mutable_start()->set_pid(static_cast<std::uint32_t>(state->pid));
                       out.mutable_start()->set_binary_sha256(state->binary_sha256);
                       answer(out);
                     });
}

void Jobs::reap(const v1::Request& request, Answer answer) {
  generations_.reap(request.reap().generation(), std::chrono::milliseconds(request.reap().wait_ms()),
                    [answer = std::move(answer)](const Result<proxy::GenerationState>& state) {
                      if (!state) return answer(failed(state.error()));
                      v1::Response out;
                      out.mutable_reap()->set_ended(!state->running);
                      out.mutable_reap()->set_exit_status(state->exit_status);
                      out.mutable_reap()->set_out_of_memory(state->out_of_memory);
                      answer(out);
                    });
}

void Jobs::binary(const v1::Request& request, const Answer& answer) {
  const auto& asked = request.binary();
  switch (asked.mark()) {
    case v1::BinaryRequest::QUARANTINE:
      return answer(of_status(generations_.quarantine(asked.sha256(), asked.reason())));
    case v1::BinaryRequest::GOOD:
      return answer(of_status(generations_.mark_good(asked.sha256())));
    default:
      return answer(failed(Error(Code::kUnimplemented, "HWS-BR-005", "the broker doesn't know this mark of a binary",
                                 "hawserd and hawser-broker must be of the same release")));
  }
}

}  // namespace hawser::broker
