// SPDX-License-Identifier: Apache-2.0
// How proxies answer what they are sent, and what the operator is told of it.
#include <utility>

#include "base/log.h"
#include "xds/core.h"
#include "xds/permit_gate.h"

namespace hawser::xds {
namespace {

// As Envoy says it when its binary wasn't built with what a configuration names.
bool names_unknown_extension(const std::string& message) {
  return message.find("Didn't find a registered implementation") != std::string::npos;
}

Error rejection(const std::string& type, const std::string& message) {
  const std::string text = "the proxy rejected a " + type + " update: " + message;
  if (message.find(kRefusedType) != std::string::npos)
    return Error(
        Code::kFailedPrecondition, "HWS-XDS-053", text,
        "the proxy's sandbox permits no Lua or Wasm: name it in HAWSER_PROXY_ALLOW (/etc/hawser/broker.env), or "
        "take it out of the mesh's configuration; the proxy keeps what it had (docs/supervision.md)");
  if (names_unknown_extension(message))
    return Error(Code::kFailedPrecondition, "HWS-XDS-051", text,
                 "this build of the proxy lacks that extension; run one that has it, or take it out of the mesh's "
                 "configuration (docs/compatibility.md)");
  return Error(Code::kInvalidArgument, "HWS-XDS-012", text,
               "correct the configuration in the control plane; the proxy keeps what it had");
}

}  // namespace

void Core::handle_answer(const Hub::Answer& answer) {
  Counts& counts = counts_[answer.type];
  if (answer.accepted) {
    ++counts.accepted;
    if (answer.serving) {
      counts.accepted_at = strand_.wall();
      if (!std::exchange(told_accepted_, true)) observer_.on_accepted();
    }
    if (answer.serving && !answer.outstanding && rejected_types_.erase(answer.type) > 0 && rejected_types_.empty())
      observer_.on_proxy_answer(std::nullopt);
    return;
  }
  const std::string type = short_name(answer.type);
  ++counts.rejected;
  counts.rejected_at = strand_.wall();
  metrics_.add("hawser_xds_nacks_total", "Responses that a proxy rejected.", {{"type", type}});
  log::warn("a proxy rejected its configuration", {{"type", type}, {"cause", answer.message}});
  publish();
  if (!answer.serving) return;
  rejected_types_.insert(answer.type);
  observer_.on_proxy_answer(rejection(type, answer.message));
}

// Another one serves: what it refused before it did so counts, and what its predecessor refused doesn't any more. Or it
// doesn't ask any more for what it has refused.
void Core::review_refusals() {
  const Refusals* refusals = hub_.refusals();
  if (refusals == nullptr) return;
  const auto reasons = refusals->reasons();
  std::set<std::string> types;
  for (const auto& [type, reason] : reasons) types.insert(type);
  if (types.empty() && rejected_types_.empty()) return;
  rejected_types_ = std::move(types);
  if (reasons.empty()) return observer_.on_proxy_answer(std::nullopt);
  const auto& [type, reason] = *reasons.begin();
  observer_.on_proxy_answer(rejection(short_name(type), reason));
}

}  // namespace hawser::xds
