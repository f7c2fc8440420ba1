// SPDX-License-Identifier: Apache-2.0
#include "xds/istio_strip.h"

#include "xds/types.h"
#include "xds/wire_cursor.h"

namespace hawser::xds {
namespace {

// The messages on the way from a response to a filter.
enum class Kind : std::uint8_t {
  kOther,
  kDeltaResponse,
  kSotwResponse,
  kResource,
  kAny,
  kListener,
  kFilterChain,
  kNetworkFilter,
  kConnectionManager,
  kUpgradeConfig,
  kHttpFilter,
  kRouter,
  kCluster,
  kClusterFilter,
  kProtocolOptionsEntry,
  kHttpProtocolOptions,
  kTransportSocketMatch,
  kTransportSocket,
  kInternalTransport,
  kTlsContext,
  kCommonTlsContext,
  kCount,
};

struct Step {
  Kind in;
  std::uint32_t field;
  Kind to;
  bool is_filter = false;  // may be taken out as a whole
};
// Field numbers of Envoy's API v3; steps of one message stand together.
constexpr std::array kSteps = {
    Step{Kind::kDeltaResponse, 2, Kind::kResource},
    Step{Kind::kSotwResponse, 2, Kind::kAny},
    Step{Kind::kResource, 2, Kind::kAny},
    Step{Kind::kListener, 3, Kind::kFilterChain},
    Step{Kind::kListener, 25, Kind::kFilterChain},
    Step{Kind::kFilterChain, 3, Kind::kNetworkFilter, true},
    Step{Kind::kFilterChain, 6, Kind::kTransportSocket},
    Step{Kind::kNetworkFilter, 4, Kind::kAny},
    Step{Kind::kConnectionManager, 5, Kind::kHttpFilter, true},
    Step{Kind::kConnectionManager, 23, Kind::kUpgradeConfig},
    Step{Kind::kUpgradeConfig, 2, Kind::kHttpFilter, true},
    Step{Kind::kHttpFilter, 4, Kind::kAny},
    Step{Kind::kRouter, 8, Kind::kHttpFilter, true},
    Step{Kind::kCluster, 24, Kind::kTransportSocket},
    Step{Kind::kCluster, 36, Kind::kProtocolOptionsEntry},
    Step{Kind::kCluster, 40, Kind::kClusterFilter, true},
    Step{Kind::kCluster, 43, Kind::kTransportSocketMatch},
    Step{Kind::kClusterFilter, 2, Kind::kAny},
    Step{Kind::kProtocolOptionsEntry, 2, Kind::kAny},
    Step{Kind::kHttpProtocolOptions, 6, Kind::kHttpFilter, true},
    Step{Kind::kTransportSocketMatch, 3, Kind::kTransportSocket},
    Step{Kind::kTransportSocket, 3, Kind::kAny},
    Step{Kind::kInternalTransport, 3, Kind::kTransportSocket},
    Step{Kind::kTlsContext, 1, Kind::kCommonTlsContext},
};
constexpr std::uint32_t kAnyTypeUrl = 1;
constexpr std::uint32_t kAnyValue = 2;
constexpr std::uint32_t kAlpnProtocols = 4;  // of CommonTlsContext

struct Named {
  std::string_view message;
  Kind kind;
};
constexpr std::array kNamedKinds = {
    Named{"envoy.config.listener.v3.Listener", Kind::kListener},
    Named{"envoy.config.cluster.v3.Cluster", Kind::kCluster},
    Named{"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
          Kind::kConnectionManager},
    Named{"envoy.extensions.filters.http.router.v3.Router", Kind::kRouter},
    Named{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions", Kind::kHttpProtocolOptions},
    Named{"envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", Kind::kTlsContext},
    Named{"envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", Kind::kTlsContext},
    Named{"envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
          Kind::kInternalTransport},
};

std::string_view message_name(std::string_view type_url) {
  return type_url.substr(type_url.find_last_of('/') + 1);
}

Kind kind_of(std::string_view type_url) {
  const auto name = message_name(type_url);
  for (const auto& named : kNamedKinds) {
    if (named.message == name) return named.kind;
  }
  return Kind::kOther;
}

// Where the steps of a message begin and end: each field of each cluster is looked up.
struct Steps {
  const Step* begin = nullptr;
  const Step* end = nullptr;
};
constexpr auto kStepsOf = [] {
  std::array<Steps, static_cast<std::size_t>(Kind::kCount)> out{};
  for (const auto& step : kSteps) {
    auto& steps = out[static_cast<std::size_t>(step.in)];
    if (steps.begin == nullptr) steps.begin = &step;
    steps.end = &step + 1;
  }
  return out;
}();

const Step* step_of(Kind in, std::uint32_t field) {
  const auto& steps = kStepsOf[static_cast<std::size_t>(in)];
  for (const Step* step = steps.begin; step != steps.end; ++step) {
    if (step->field == field) return step;
  }
  return nullptr;
}

// istiod wraps configurations whose message it doesn't have into a TypedStruct, which carries the real type.
std::string_view real_type(std::string_view any) {
  const auto type = wire_value(any, kAnyTypeUrl);
  const auto name = message_name(type);
  if (name != "udpa.type.v1.TypedStruct" && name != "xds.type.v3.TypedStruct") return type;
  return wire_value(wire_value(any, kAnyValue), 1);
}

std::uint32_t config_field(Kind filter) {
  return filter == Kind::kClusterFilter ? 2 : 4;
}

class Strip {
 public:
  Strip(const IstioExtensionSet& lacking, IstioFindings& found) : lacking_(lacking), found_(found) {}

  // Nullopt: nothing to take out.
  std::optional<std::string> message(Kind kind, std::string_view in) {
    const Kind inside = kind == Kind::kAny ? kind_of(wire_value(in, kAnyTypeUrl)) : Kind::kOther;
    if (kind == Kind::kOther || (kind == Kind::kAny && inside == Kind::kOther)) return std::nullopt;
    if (depth_ == kMaxDepth) return std::nullopt;
    ++depth_;
    auto out = fields(kind, inside, in);
    --depth_;
    return out;
  }

 private:
  // A response to the filter of a router of a connection manager is half of it. A router may hold routers without end.
  static constexpr int kMaxDepth = 32;

  struct Fate {
    bool gone = false;
    std::optional<std::string> replacement;
  };

  // Is there anything to take out? Most resources have nothing, and this builds nothing.
  bool concerned(Kind kind, std::string_view in, int depth) const {
    if (depth == kMaxDepth) return false;
    if (kind == Kind::kAny) {
      const Kind inside = kind_of(wire_value(in, kAnyTypeUrl));
      return inside != Kind::kOther && concerned(inside, wire_value(in, kAnyValue), depth + 1);
    }
    WireCursor cursor(in);
    while (const auto field = cursor.next()) {
      if (!field->is_bytes) continue;
      if (kind == Kind::kCommonTlsContext) {
        if (is_unwanted_protocol(*field)) return true;
        continue;
      }
      const Step* step = step_of(kind, field->number);
      if (step == nullptr) continue;
      if (step->is_filter && unwanted(step->to, field->value)) return true;
      if (concerned(step->to, field->value, depth + 1)) return true;
    }
    return false;
  }

  std::optional<std::string> fields(Kind kind, Kind inside, std::string_view in) {
    std::optional<std::string> out;
    WireCursor cursor(in);
    while (const auto field = cursor.next()) {
      const Fate fate = field->is_bytes ? judge(kind, inside, *field) : Fate{};
      if (!fate.gone && !fate.replacement) {
        if (out) out->append(field->whole);
        continue;
      }
      // What stood before the first change is copied when there is one, so nothing is copied for nothing.
      if (!out) {
        out.emplace().reserve(in.size());
        out->append(in.substr(0, static_cast<std::size_t>(field->whole.data() - in.data())));
      }
      if (fate.replacement) append_wire_bytes(*out, field->number, *fate.replacement);
    }
    if (cursor.malformed()) return std::nullopt;
    return out;
  }

  Fate judge(Kind kind, Kind inside, const WireField& field) {
    if (kind == Kind::kAny) return {false, field.number == kAnyValue ? message(inside, field.value) : std::nullopt};
    if (kind == Kind::kCommonTlsContext) {
      const bool gone = is_unwanted_protocol(field);
      found_.protocols += gone ? 1 : 0;
      return {gone, std::nullopt};
    }
    const Step* step = step_of(kind, field.number);
    if (step == nullptr) return {};
    if (step->is_filter) {
      if (const auto extension = unwanted(step->to, field.value)) {
        ++found_.filters[static_cast<std::size_t>(*extension)];
        return {true, std::nullopt};
      }
    }
    const bool whole_resource = kind == Kind::kDeltaResponse || kind == Kind::kSotwResponse;
    if (whole_resource && !concerned(step->to, field.value, depth_)) return {};
    return {false, message(step->to, field.value)};
  }

  std::optional<IstioExtension> unwanted(Kind filter, std::string_view value) const {
    const auto extension = istio_extension_of(real_type(wire_value(value, config_field(filter))));
    if (!extension || !lacking_.test(static_cast<std::size_t>(*extension))) return std::nullopt;
    return extension;
  }

  bool is_unwanted_protocol(const WireField& field) const {
    return lacking_.test(static_cast<std::size_t>(IstioExtension::kMetadataExchange)) &&
           field.number == kAlpnProtocols && field.value == kMetadataExchangeProtocol;
  }

  const IstioExtensionSet& lacking_;
  IstioFindings& found_;
  int depth_ = 0;
};

std::optional<std::string> strip(Kind kind, std::string_view message, const IstioExtensionSet& lacking,
                                 IstioFindings& found) {
  if (lacking.none()) return std::nullopt;
  return Strip(lacking, found).message(kind, message);
}

}  // namespace

bool IstioFindings::any() const {
  return protocols > 0 || extensions().any();
}

IstioExtensionSet IstioFindings::extensions() const {
  IstioExtensionSet out;
  for (std::size_t i = 0; i < filters.size(); ++i) out.set(i, filters[i] > 0);
  return out;
}

std::optional<std::string> strip_delta_response(std::string_view message, const IstioExtensionSet& lacking,
                                                IstioFindings& found) {
  return strip(Kind::kDeltaResponse, message, lacking, found);
}

std::optional<std::string> strip_sotw_response(std::string_view message, const IstioExtensionSet& lacking,
                                               IstioFindings& found) {
  return strip(Kind::kSotwResponse, message, lacking, found);
}

std::optional<std::string> strip_resource(std::string_view resource, const IstioExtensionSet& lacking,
                                          IstioFindings& found) {
  return strip(Kind::kResource, resource, lacking, found);
}

bool may_hold_istio_extensions(std::string_view type_url) {
  return type_url == kListenerType || type_url == kClusterType;
}

}  // namespace hawser::xds
