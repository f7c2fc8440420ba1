// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/command.h"

namespace hawser::cli {

// What: how what has happened is written for people, a line each, with its time first. Pure.
// An entry of the proxy's history.
std::string history_line(const nlohmann::json& entry);
// A row of `hawser status` that changed.
std::string health_line(const nlohmann::json& transition);

// What: asks again twice a second, until the process is ended. `ask` prints what is new and keeps what it knows; a
// hawserd that is away is waited for, and said once.
void follow(Context& context, const std::function<Status()>& ask);

}  // namespace hawser::cli
