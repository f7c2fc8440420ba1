// SPDX-License-Identifier: Apache-2.0
#include "cli/admin_call.h"

#include <nlohmann/json.hpp>

#include "base/frame.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {

Result<std::string> admin_call(const Context& context, const admin::v1::Request& request, int timeout_ms) {
  auto answer = frame::call(context.admin_socket, request.SerializeAsString(), timeout_ms);
  if (!answer) {
    if (answer.error().code() == Code::kNotFound || answer.error().code() == Code::kUnavailable)
      return Error(Code::kUnavailable, "HWS-RPC-002", "hawserd isn't running: " + answer.error().message(),
                   "systemctl start hawser.service");
    return answer.error();
  }
  admin::v1::Response response;
  if (!response.ParseFromString(*answer))
    return Error(Code::kInternal, "HWS-RPC-001", "hawserd's answer can't be read",
                 "use the same version of hawser and hawserd");
  if (response.has_failure()) {
    const auto& failure = response.failure();
    return Error(static_cast<Code>(failure.code()), failure.id(), failure.message(), failure.hint());
  }
  return response.json();
}

Result<nlohmann::json> admin_json(const Context& context, const admin::v1::Request& request, int timeout_ms) {
  auto answer = admin_call(context, request, timeout_ms);
  if (!answer) return answer.error();
  auto parsed = nlohmann::json::parse(*answer, nullptr, false);
  if (!parsed.is_object())
    return Error(Code::kInternal, "HWS-RPC-001", "hawserd's answer is not JSON",
                 "use the same version of hawser and hawserd");
  return parsed;
}

std::string text_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace hawser::cli
