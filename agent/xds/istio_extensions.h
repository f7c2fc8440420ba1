// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// What: the extensions that only Istio's own build of Envoy has and that a default istiod sends (reference
// istio-agent.md §7.5; types as in istio's pilot/pkg/xds/filters and pilot/pkg/model/telemetry.go, 1.30 and 1.31).
// None of them decides who may talk to whom: without them, telemetry has fewer labels and protocols are told apart by
// less. Any other extension that a proxy lacks is never taken away: it may be what protects the workload.
// Threading: pure functions.
namespace hawser::xds {

enum class IstioExtension : std::uint8_t { kAlpn, kMetadataExchange, kPeerMetadata, kStats };

inline constexpr std::size_t kIstioExtensionCount = 4;
inline constexpr std::array kIstioExtensions = {IstioExtension::kAlpn, IstioExtension::kMetadataExchange,
                                                IstioExtension::kPeerMetadata, IstioExtension::kStats};

using IstioExtensionSet = std::bitset<kIstioExtensionCount>;

// "istio.stats".
std::string_view istio_extension_name(IstioExtension extension);
// The message that configures it; of several, the commonest.
std::string_view istio_extension_type(IstioExtension extension);
// "istio.alpn, istio.stats".
std::string istio_extension_names(const IstioExtensionSet& set);
// Which of them has this configuration? The URL's part after the last slash decides.
std::optional<IstioExtension> istio_extension_of(std::string_view type_url);

// Envoy negotiates this protocol when both sides are to write their metadata ahead of the connection's own bytes.
inline constexpr std::string_view kMetadataExchangeProtocol = "istio-peer-exchange";

// What a proxy lacks, by what it says of itself: Envoy lists the extensions of its binary in the node of a stream's
// first request. Nullopt: this client lists none, so it isn't an Envoy, and nothing is known.
std::optional<IstioExtensionSet> lacking_istio_extensions(std::string_view node);

}  // namespace hawser::xds
