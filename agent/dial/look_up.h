// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace hawser::dial {

// What: a name's addresses, both families, in the order of this host's resolver (RFC 6724: what this host has no
// address of its own for comes last). Threading: blocking; on the slow worker, whose resolver it bounds to two tries of
// 2 s a server, so that a dead name server doesn't hold the disk's work up. Failure: HWS-DL-002.
Result<std::vector<std::string>> look_up(const std::string& host);

}  // namespace hawser::dial
