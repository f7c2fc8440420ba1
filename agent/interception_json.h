// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace hawser::broker::v1 {
class Response;
}

namespace hawser {

// What: the broker's answer to `observe` as `hawser intercept status --json` prints it, by way of hawserd or without
// it. Pure.
nlohmann::json interception_json(const broker::v1::Response& response);

}  // namespace hawser
