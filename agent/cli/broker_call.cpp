// SPDX-License-Identifier: Apache-2.0
#include "cli/broker_call.h"

#include <csignal>

#include "base/frame.h"
#include "hawser/broker.pb.h"

namespace hawser::cli {

Status broker_call(const Context& context, const broker::v1::Request& request, broker::v1::Response& response,
                   int timeout_ms) {
  auto answer = frame::call(context.broker_socket, request.SerializeAsString(), timeout_ms);
  if (!answer) return answer.error();
  if (!response.ParseFromString(*answer))
    return Error(Code::kInternal, "HWS-RPC-001", "the broker's answer can't be read",
                 "use the same version of hawser and hawser-broker");
  if (response.has_failure()) {
    const auto& failure = response.failure();
    return Error(static_cast<Code>(failure.code()), failure.id(), failure.message(), failure.hint());
  }
  return {};
}

static Status end_generation(const Context& context, const std::string& name) {
  broker::v1::Response ignored;
  broker::v1::Request stop;
  stop.mutable_signal()->set_generation(name);
  stop.mutable_signal()->set_signal(SIGTERM);
  if (auto sent = broker_call(context, stop, ignored, 5000); !sent) return sent;
  broker::v1::Request reap;
  reap.mutable_reap()->set_generation(name);
  reap.mutable_reap()->set_wait_ms(10000);
  return broker_call(context, reap, ignored, 15000);
}

Status withdraw_by_broker(const Context& context, broker::v1::RemoveResponse* left) {
  broker::v1::Request observe;
  observe.mutable_observe();
  broker::v1::Response seen;
  if (auto ok = broker_call(context, observe, seen, 5000); !ok) return ok;
  broker::v1::Request remove;
  remove.mutable_remove();
  broker::v1::Response removed;
  if (auto ok = broker_call(context, remove, removed, 30000); !ok) return ok;
  if (left != nullptr) *left = removed.remove();
  for (const auto& generation : seen.observe().generations())
    if (auto ended = end_generation(context, generation.name()); !ended) return ended;
  return {};
}

}  // namespace hawser::cli
