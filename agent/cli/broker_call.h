// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "cli/command.h"

namespace hawser::broker::v1 {
class Request;
class Response;
class RemoveResponse;
}  // namespace hawser::broker::v1

namespace hawser::cli {

// One request straight to the broker, for root when hawserd is away. Failure: what the broker said, or HWS-RPC-002.
Status broker_call(const Context& context, const broker::v1::Request& request, broker::v1::Response& response,
                   int timeout_ms);
// Takes interception out and ends every proxy generation, with the broker alone. `left`, if given: what it looked at
// afterwards.
Status withdraw_by_broker(const Context& context, broker::v1::RemoveResponse* left = nullptr);

}  // namespace hawser::cli
