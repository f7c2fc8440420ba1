// SPDX-License-Identifier: Apache-2.0
#include "interception_options.h"

#include <algorithm>

#include "base/log.h"
#include "interception_intent.h"
#include "registration.h"

namespace hawser {

Interception::Options interception_options(const config::Config& config, const HostFacts& facts) {
  Interception::Options options;
  options.confirm = config.interception.confirm;
  options.intent = interception_intent(config);
  for (const auto& endpoint : facts.plane) options.intent.never.push_back({endpoint.host, endpoint.port});
  for (const auto& endpoint : Registration::probes_through_proxy(config, facts))
    options.intent.own_probes.push_back({endpoint.host, endpoint.port});
  const auto& exempt = options.intent.exempt_uids;
  if (std::find(exempt.begin(), exempt.end(), 0U) != exempt.end())
    log::warn("what root sends isn't intercepted, since it's the proxy's user, or exempt",
              {{"fix", "give the proxy a user of its own"}});
  return options;
}

}  // namespace hawser
