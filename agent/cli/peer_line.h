// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace hawser::cli {

// One that is connected, as proxy/peers.h tells it: "10.0.0.7:43122, for 80 s or more, 3.1 MiB in, 12.0 KiB out, silent
// for 2 s". Pure. Failure: none.
std::string peer_line(const nlohmann::json& peer);

}  // namespace hawser::cli
