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

// One of the package's users on a machine without the package: a number that no host gives to anybody.
struct StandIn {
  std::string name;
  std::uint32_t id = 0;  // uid and gid
};

struct Interception {
  netfilter::Intent intent;
  netfilter::Guard guard;
  netfilter::Plan plan;
  std::vector<std::string> warnings;
  std::vector<StandIn> stand_ins;
};

// kStandIns: for what is only looked at. Else a user of the package that doesn't exist is an error.
enum class UnknownUsers { kRefused, kStandIns };

// "both", "ipv4" or "ipv6": hawserd takes those in which the proxy listens.
Result<Interception> configured_interception(Context& context, const std::string& families, UnknownUsers users);
void say_warnings(const Interception& interception);
// For people: stand-ins' numbers as their names, "<hawser>".
std::string with_names(std::string text, const Interception& interception);

}  // namespace hawser::cli
