// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "proxy/hand_over.h"

namespace hawser::proxy {

// What: how much memory the host can still give, and how much a generation holds (assumed, where neither /proc nor its
// unit tells); none where /proc doesn't show the host's memory.
// Threading: any; reads small files of /proc and /sys. Failure: none but that.
std::optional<MemoryRoom> memory_room(const std::string& generation, pid_t pid);

}  // namespace hawser::proxy
