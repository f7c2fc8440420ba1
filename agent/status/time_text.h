// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/loop.h"

namespace hawser::status {

// What: a moment as the status document writes it: RFC 3339, UTC, milliseconds (2026-01-02T03:04:05.678Z). Pure.
std::string utc_text(Loop::Wall when);

}  // namespace hawser::status
