// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "base/loop.h"

namespace hawser::certs {

// What: moments of certificates and tokens, which have whole seconds. Pure.
// RFC 3339, UTC: 2026-01-02T03:04:05Z.
std::string utc_text(Loop::Wall when);
// Clamped to what Wall's nanoseconds can hold (years 1678 to 2261): certificates may say 9999.
Loop::Wall wall_of(std::int64_t unix_seconds);
std::int64_t unix_seconds(Loop::Wall when);

}  // namespace hawser::certs
