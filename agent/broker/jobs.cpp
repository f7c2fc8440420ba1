// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/jobs.h"

#include "base/log.h"
#include "broker/failure.h"
#include "broker/intent_proto.h"
#include "hawser/broker.pb.h"

namespace hawser::broker {
namespace {

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
}

FailurePolicy to_policy(const v1::PlanRequest& request) {
  if (!request.has_on_failure()) return {};
  return {request.on_failure().inbound_closed(), request.on_failure().outbound_closed()};
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
      return remove(std::move(answer));
    case v1::Request::kObserve:
      return observe(answer);
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
    case v1::Request::JOB_NOT_SET:
      break;
  }
  answer(failed(Error(Code::kUnimplemented, "HWS-BR-005", "the broker doesn't know this request",
                      "hawserd and hawser-broker must be of the same release")));
}

void Jobs::plan(const v1::Request& request, const Answer& answer) {
  auto applied =
      interception_.plan(to_intent(request.plan().intent()), std::chrono::seconds(request.plan().confirm_seconds()),
                         request.plan().without_proxy() ? Interception::Proxy::kWithout : Interception::Proxy::kThere,
                         to_policy(request.plan()));
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

void Jobs::confirm(const v1::Request& request, const Answer& answer) {
  const auto confirmed = interception_.confirm(request.confirm().digest());
  if (confirmed) generations_.remember_good();
  answer(of_status(confirmed));
}

void Jobs::remove(Answer answer) {
  generations_.forget_good();
  interception_.remove([answer = std::move(answer)](const Status& status) { answer(of_status(status)); });
}

void Jobs::lease(const v1::Request& request, const Answer& answer) {
  if (request.lease().release()) {
    guardian_.release();
  } else {
    guardian_.renew();
  }
  answer(v1::Response());
}

void Jobs::observe(const Answer& answer) {
  auto state = interception_.observe();
  if (!state) return answer(failed(state.error()));
  v1::Response out;
  auto* observed = out.mutable_observe();
  observed->set_backend(interception_.backend_name());
  observed->set_active(state->active);
  observed->set_confirmed(state->confirmed);
  observed->set_digest(state->kernel.listing.digest);
  observed->set_ruleset(state->kernel.text);
  for (const auto& [purpose, traffic] : state->kernel.listing.counters) {
    auto* counter = observed->add_counters();
    counter->set_purpose(purpose);
    counter->set_packets(traffic.packets);
    counter->set_bytes(traffic.bytes);
  }
  for (const auto& generation : generations_.list()) fill(generation, *observed->add_generations());
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
                      answer(out);
                    });
}

}  // namespace hawser::broker
