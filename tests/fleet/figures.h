// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

namespace hawser::fleet {

// How long hosts were gone, in seconds: how many came back, quantiles, and how many were gone for longer than istiod's
// grace time of 10 s.
nlohmann::json gone_json(std::vector<double> gone);

}  // namespace hawser::fleet
