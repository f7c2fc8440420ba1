// SPDX-License-Identifier: Apache-2.0
#include "xds/expectation.h"

#include <algorithm>

#include "xds/types.h"

namespace hawser::xds {

Expectation expectation_of(const Request& request) {
  const std::string& type = request.type_url;
  // Of other types a plane may never have heard; istiod says nothing then.
  if (type != kClusterType && type != kListenerType && type != kEndpointType && type != kRouteType) return {};
  if (!request.nonce.empty() || !request.unsubscribe.empty()) return {};
  const auto& names = request.subscribe;
  const bool all = names.empty() || std::find(names.begin(), names.end(), kWildcard) != names.end();
  if (all && request.initial_versions.empty()) return {Expectation::Kind::kMustAnswer, short_name(type)};
  const auto unknown = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
    return name != kWildcard && !request.initial_versions.contains(name);
  });
  if (unknown == names.end()) return {Expectation::Kind::kMayBeSilent, {}};
  return {Expectation::Kind::kShouldAnswer, short_name(type) + " " + *unknown};
}

}  // namespace hawser::xds
