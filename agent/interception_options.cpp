// SPDX-License-Identifier: Apache-2.0
#include "interception_options.h"

#include "config/load.h"
#include "registration.h"

namespace hawser {

Interception::Options interception_options(const config::Config& config, const HostFacts& facts) {
  Interception::Options options;
  options.settings = config.interception;
  options.never = facts.plane;
  for (const auto& user : {config.users.agent, config.users.proxy}) {
    if (auto uid = config::resolve_user(user)) options.exempt_uids.push_back(*uid);
  }
  if (auto gid = config::resolve_group(config.users.proxy)) options.exempt_gids.push_back(*gid);
  options.own_probes = Registration::probes_through_proxy(config, facts);
  options.agent_uid = config::resolve_user(config.users.agent).value_or(0);
  return options;
}

}  // namespace hawser
