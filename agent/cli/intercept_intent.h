// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "netfilter/plan.h"

// What: what the configuration on disk asks for, and what can be known of this host without a daemon and without root.
// Threading: blocking file reads and users' look-up. Failure: those of the configuration, and of netfilter/plan.h.
namespace hawser::cli {

struct Interception {
  netfilter::Intent intent;
  netfilter::Guard guard;
  netfilter::Plan plan;
  std::vector<std::string> unknown;  // what hawserd would know besides, for people
};

// "both", "ipv4" or "ipv6": hawserd takes those in which the proxy listens.
Result<Interception> configured_interception(Context& context, const std::string& families);
void say_unknown(const Interception& interception);

}  // namespace hawser::cli
