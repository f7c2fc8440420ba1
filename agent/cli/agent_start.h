// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "cli/command.h"

namespace hawser::cli {

// What: hawserd answers when this returns; where systemd is the init, its units are started if need be. Somebody may
// have stopped or disabled them. Threading: blocking, at most about 90 s. Failure: HWS-RPC-002; HWS-CLI-009, systemctl
// failed.
Status ensure_agent(const Context& context);

}  // namespace hawser::cli
