// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/config.h"
#include "host_facts.h"
#include "interception.h"

namespace hawser {

// What: configuration and facts of the host → what is to be intercepted. Threading: pure, but for users' look-up.
Interception::Options interception_options(const config::Config& config, const HostFacts& facts);

}  // namespace hawser
