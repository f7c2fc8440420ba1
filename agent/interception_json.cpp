// SPDX-License-Identifier: Apache-2.0
#include "interception_json.h"

#include <nlohmann/json.hpp>

#include "hawser/broker.pb.h"

namespace hawser {
namespace {

using nlohmann::json;
namespace v1 = broker::v1;

json policy_of(const v1::FailurePolicy& policy) {
  return {{"inbound", policy.inbound_closed() ? "closed" : "open"},
          {"outbound", policy.outbound_closed() ? "closed" : "open"},
          {"max_open_seconds", policy.max_open_seconds()}};
}

const char* state_of(const v1::ObserveResponse& seen) {
  if (seen.policy()) return "failure policy";
  if (seen.draining()) return "draining";
  if (!seen.active()) return "none";
  return seen.confirmed() ? "active" : seen.revert() ? "trying" : "unconfirmed";
}

}  // namespace

json interception_json(const v1::Response& response) {
  const auto& seen = response.observe();
  const auto& drift = seen.drift();
  json out = {{"state", state_of(seen)},
              {"backend", seen.backend()},
              {"backend_reason", seen.backend_reason()},
              {"digest", seen.digest()},
              {"confirmed_digest", seen.stored_digest()},
              {"transactions", seen.transactions()},
              {"confirm_until", seen.confirm_until()},
              {"revert", seen.revert()},
              {"on_failure", policy_of(seen.on_failure())},
              {"open_until", seen.open_until()},
              {"opens_closed", seen.opens_closed()},
              {"requests_refused", seen.requests_refused()},
              {"drift",
               {{"found", drift.found()},
                {"healed", drift.healed()},
                {"failed", drift.failed()},
                {"backing_off", drift.backing_off()},
                {"what", drift.what()},
                {"program", drift.program()},
                {"found_at", drift.found_at()}}},
              {"guardian", seen.guardian().state()},
              {"ruleset", seen.ruleset()},
              {"counters", json::array()}};
  for (const auto& counter : seen.counters())
    out["counters"].push_back(
        {{"purpose", counter.purpose()}, {"packets", counter.packets()}, {"bytes", counter.bytes()}});
  return out;
}

}  // namespace hawser
