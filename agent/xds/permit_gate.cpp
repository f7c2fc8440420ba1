// SPDX-License-Identifier: Apache-2.0
#include "xds/permit_gate.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "xds/types.h"

namespace hawser::xds {
namespace {

// A type's name as it stands in the bytes, however deep: nothing on the way there is compressed. What is before it
// doesn't count: an Any must have "host/", a TypedStruct in it needn't.
constexpr std::string_view kBegin = "envoy.extensions.";
static_assert(kRefusedType.size() == kBegin.size(), "no length on the way there may change");

constexpr std::array kGatedTypes = {
    kListenerType,
    kRouteType,
    kClusterType,
    std::string_view("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"),
    std::string_view("type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"),
    std::string_view("type.googleapis.com/envoy.config.route.v3.VirtualHost"),
};

bool in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

// "filters.http.lua.v3.LuaPerRoute" has the part "lua".
bool has_part(std::string_view name, std::string_view part) {
  for (std::size_t at = 0; at < name.size();) {
    const auto end = std::min(name.find('.', at), name.size());
    if (name.substr(at, end - at) == part) return true;
    at = end + 1;
  }
  return false;
}

}  // namespace

bool may_hold_code(std::string_view type_url) {
  return std::find(kGatedTypes.begin(), kGatedTypes.end(), type_url) != kGatedTypes.end();
}

std::optional<std::string> refuse_extensions(std::string_view message, const ExtensionPermits& permits,
                                             RefusedExtensions& refused) {
  std::optional<std::string> out;
  for (auto at = message.find(kBegin); at != std::string_view::npos; at = message.find(kBegin, at)) {
    const auto begin = at;
    at += kBegin.size();
    const auto end = std::find_if_not(message.begin() + static_cast<std::ptrdiff_t>(at), message.end(), in_name);
    const std::string_view name(message.data() + at, static_cast<std::size_t>(end - message.begin()) - at);
    const bool lua = !permits.lua && has_part(name, "lua");
    const bool wasm = !permits.wasm && has_part(name, "wasm");
    if (!lua && !wasm) continue;
    ++(lua ? refused.lua : refused.wasm);
    if (!out) out.emplace(message);
    out->replace(begin, kRefusedType.size(), kRefusedType);
  }
  return out;
}

std::optional<std::string> PermitGate::apply(std::string_view type_url, std::string_view bytes,
                                             const std::string& generation) {
  if (!may_hold_code(type_url)) return std::nullopt;
  const ExtensionPermits permits = permits_.of(generation);
  if (permits.all()) return std::nullopt;
  RefusedExtensions refused;
  auto out = refuse_extensions(bytes, permits, refused);
  count("lua", refused.lua, generation);
  count("wasm", refused.wasm, generation);
  return out;
}

void PermitGate::count(const char* extension, std::uint64_t found, const std::string& generation) {
  if (found == 0) return;
  metrics_.add("hawser_xds_refused_extensions_total",
               "Extensions that the proxy's sandbox doesn't permit, made unusable on their way to it.",
               {{"extension", extension}}, static_cast<double>(found));
  log::warn("the control plane sends an extension that the proxy's sandbox doesn't permit; the proxy will reject it",
            {{"id", "HWS-XDS-053"}, {"extension", extension}, {"generation", generation}});
}

}  // namespace hawser::xds
