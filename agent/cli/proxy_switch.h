// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/proxy_hand_over.h"

namespace hawser::cli {

// Makes a binary of the store the current one and has the running proxy replaced by it. If that fails, what was current
// is so again, and the error says it. Where no proxy runs, it stays: the next start uses it. Not with a lock on the
// store.
void switch_to(Context& context, const std::string& sha256, const HandOverOptions& options);

}  // namespace hawser::cli
