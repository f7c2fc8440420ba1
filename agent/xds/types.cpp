// SPDX-License-Identifier: Apache-2.0
#include "xds/types.h"

#include <algorithm>
#include <array>

namespace hawser::xds {
namespace {

constexpr std::array kOrder = {kClusterType, kEndpointType, kListenerType, kRouteType};

constexpr std::array<std::string_view, 6> kNamed = {
    kEndpointType,
    kRouteType,
    "type.googleapis.com/envoy.config.route.v3.VirtualHost",
    "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
    "type.googleapis.com/envoy.service.runtime.v3.Runtime",
};

std::size_t rank(std::string_view type_url) {
  return static_cast<std::size_t>(std::find(kOrder.begin(), kOrder.end(), type_url) - kOrder.begin());
}

}  // namespace

bool forwardable(std::string_view type_url) {
  return type_url.starts_with("type.googleapis.com/envoy.") || type_url == kWorkloadType;
}

bool named_type(std::string_view type_url) {
  return std::find(kNamed.begin(), kNamed.end(), type_url) != kNamed.end();
}

bool TypeOrder::operator()(std::string_view left, std::string_view right) const {
  const auto left_rank = rank(left);
  const auto right_rank = rank(right);
  return left_rank != right_rank ? left_rank < right_rank : left < right;
}

std::string short_name(std::string_view type_url) {
  return std::string(type_url.substr(type_url.find_last_of("./") + 1));
}

}  // namespace hawser::xds
