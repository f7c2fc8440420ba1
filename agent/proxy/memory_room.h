// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>

#include "proxy/hand_over.h"

namespace hawser::proxy {

// What: how much memory the host can still give, and how much a process holds (assumed, where /proc hides
// it); none where /proc doesn't show the host's memory.
// Threading: any; reads two small files of /proc. Failure: none but that.
std::optional<MemoryRoom> memory_room(pid_t pid);

}  // namespace hawser::proxy
