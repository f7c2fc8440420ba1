// SPDX-License-Identifier: Apache-2.0
#include "interception_options.h"

#include "base/log.h"
#include "interception_intent.h"
#include "registration.h"

namespace hawser {

Interception::Options interception_options(const config::Config& config, const HostFacts& facts) {
  Interception::Options options;
  options.confirm = config.interception.confirm;
  options.inbound_closed = config.interception.on_failure.inbound_closed;
  options.outbound_closed = config.interception.on_failure.outbound_closed;
  options.max_open = config.interception.on_failure.max_open;
  options.intent = interception_intent(config);
  for (const auto& endpoint : facts.plane) options.intent.never.push_back({endpoint.host, endpoint.port});
  for (const auto& endpoint : Registration::probes_through_proxy(config, facts))
    options.intent.own_probes.push_back({endpoint.host, endpoint.port});
  if (exempts_root(options.intent)) log::warn(kRootIsExempt, {{"fix", kRootIsExemptFix}});
  return options;
}

}  // namespace hawser
