// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "xds/istio_extensions.h"

// What: takes filters that a proxy lacks out of listeners and clusters: network filters, HTTP filters (of connection
// managers, of routers, of clusters), cluster filters. With metadata exchange goes its protocol in the TLS contexts:
// a peer that negotiated it would wait for, and send, metadata that nobody here writes or reads.
// It works on the serialised form and copies what it doesn't know. Threading: pure functions.
// Failure: what can't be read stays as it is; the proxy judges it.
namespace hawser::xds {

// How many were (or would be) taken out.
struct IstioFindings {
  std::array<std::uint64_t, kIstioExtensionCount> filters{};
  std::uint64_t protocols = 0;
  bool any() const;
  IstioExtensionSet extensions() const;
};

// The message without what `lacking` names; nullopt if there's nothing of it in the message.
std::optional<std::string> strip_delta_response(std::string_view message, const IstioExtensionSet& lacking,
                                                IstioFindings& found);
std::optional<std::string> strip_sotw_response(std::string_view message, const IstioExtensionSet& lacking,
                                               IstioFindings& found);
// Of one envoy.service.discovery.v3.Resource.
std::optional<std::string> strip_resource(std::string_view resource, const IstioExtensionSet& lacking,
                                          IstioFindings& found);

// Resources of other types never hold any.
bool may_hold_istio_extensions(std::string_view type_url);

}  // namespace hawser::xds
