// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

// What: the listener that each generation of the proxy has for itself, beside those that generations share: on a Unix
// socket of its own, answered by a worker with the generation's name. No user comes in there, and none can.
namespace hawser::bootstrap {

inline constexpr std::string_view kWorkerListener = "hawser_worker";     // also in its statistics
inline constexpr std::string_view kWorkerSocketSuffix = ".worker.sock";  // after the generation's name

}  // namespace hawser::bootstrap
