// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "cli/command.h"

namespace hawser::admin::v1 {
class Request;
}

namespace hawser::cli {

// One request to hawserd; the answer is its JSON document. Failure: what hawserd said, or HWS-RPC-002 when it isn't
// there.
Result<std::string> admin_call(const Context& context, const admin::v1::Request& request, int timeout_ms = 5000);
// The same, parsed; HWS-RPC-001 if it isn't a JSON object.
Result<nlohmann::json> admin_json(const Context& context, const admin::v1::Request& request, int timeout_ms = 5000);
// Of such a document; empty if it isn't there or is no text.
std::string text_in(const nlohmann::json& object, const char* key);

}  // namespace hawser::cli
