// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "cli/command.h"

namespace hawser::broker::v1 {
class Request;
class Response;
}  // namespace hawser::broker::v1

namespace hawser::cli {

// One request straight to the broker, for root when hawserd is away. Failure: what the broker said, or HWS-RPC-002.
Status broker_call(const Context& context, const broker::v1::Request& request, broker::v1::Response& response,
                   int timeout_ms);
// Takes interception out and ends every proxy generation, with the broker alone.
Status withdraw_by_broker(const Context& context);

}  // namespace hawser::cli
