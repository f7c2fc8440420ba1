// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/config.h"
#include "netfilter/intent.h"

namespace hawser {

// What: the configuration's part of an Intent: all but what only a running agent knows, which is the families with a
// listener, the control plane's addresses and the probes of its own host. So a plan can be made without any daemon.
// Threading: looks users up, so at start. Failure: a user or group that doesn't exist is left out; the broker exempts
// its own anyway.
netfilter::Intent interception_intent(const config::Config& config);

// The proxy runs as root, or root is exempt. That's allowed, and nearly always a mistake.
bool exempts_root(const netfilter::Intent& intent);
inline constexpr const char* kRootIsExempt =
    "what root sends isn't intercepted, since it's the proxy's user, or exempt";
inline constexpr const char* kRootIsExemptFix = "give the proxy a user of its own";

}  // namespace hawser
