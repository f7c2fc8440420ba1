// SPDX-License-Identifier: Apache-2.0
#include "xds/istio_extensions.h"

#include "xds/wire_cursor.h"

namespace hawser::xds {
namespace {

struct Type {
  std::string_view message;
  IstioExtension extension;
};
constexpr std::array kIstioTypes = {
    Type{"istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig", IstioExtension::kAlpn},
    Type{"envoy.tcp.metadataexchange.config.MetadataExchange", IstioExtension::kMetadataExchange},
    Type{"io.istio.http.peer_metadata.Config", IstioExtension::kPeerMetadata},
    // The same for tunnels: one filter of a listener, one of a cluster.
    Type{"envoy.extensions.network_filters.peer_metadata.Config", IstioExtension::kPeerMetadata},
    Type{"envoy.extensions.network_filters.peer_metadata.UpstreamConfig", IstioExtension::kPeerMetadata},
    Type{"stats.PluginConfig", IstioExtension::kStats},
};

std::size_t index(IstioExtension extension) {
  return static_cast<std::size_t>(extension);
}

// envoy.config.core.v3.Node and Extension.
constexpr std::uint32_t kNodeExtensions = 9;
constexpr std::uint32_t kExtensionName = 1;
constexpr std::uint32_t kExtensionTypeUrls = 6;

}  // namespace

std::string_view istio_extension_name(IstioExtension extension) {
  switch (extension) {
    case IstioExtension::kAlpn:
      return "istio.alpn";
    case IstioExtension::kMetadataExchange:
      return "istio.metadata_exchange";
    case IstioExtension::kPeerMetadata:
      return "istio.peer_metadata";
    case IstioExtension::kStats:
      return "istio.stats";
  }
  return "";
}

std::string_view istio_extension_type(IstioExtension extension) {
  for (const auto& type : kIstioTypes) {
    if (type.extension == extension) return type.message;
  }
  return "";
}

std::string istio_extension_names(const IstioExtensionSet& set) {
  std::string out;
  for (const auto extension : kIstioExtensions) {
    if (!set.test(index(extension))) continue;
    if (!out.empty()) out += ", ";
    out += istio_extension_name(extension);
  }
  return out;
}

std::optional<IstioExtension> istio_extension_of(std::string_view type_url) {
  const std::string_view message = type_url.substr(type_url.find_last_of('/') + 1);
  for (const auto& type : kIstioTypes) {
    if (type.message == message) return type.extension;
  }
  return std::nullopt;
}

std::optional<IstioExtensionSet> lacking_istio_extensions(std::string_view node) {
  IstioExtensionSet present;
  bool lists_any = false;
  WireCursor fields(node);
  while (const auto extension = fields.next()) {
    if (extension->number != kNodeExtensions || !extension->is_bytes) continue;
    lists_any = true;
    WireCursor parts(extension->value);
    while (const auto part = parts.next()) {
      if (!part->is_bytes) continue;
      // An Envoy from before 1.24 gives no types, only names.
      if (part->number == kExtensionName) {
        for (const auto known : kIstioExtensions) {
          if (part->value == istio_extension_name(known)) present.set(index(known));
        }
      }
      if (part->number != kExtensionTypeUrls) continue;
      if (const auto known = istio_extension_of(part->value)) present.set(index(*known));
    }
  }
  if (!lists_any || fields.malformed()) return std::nullopt;
  return ~present;
}

}  // namespace hawser::xds
