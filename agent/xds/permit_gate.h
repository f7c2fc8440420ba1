// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/extension_permits.h"
#include "base/metrics.h"

namespace hawser::xds {

// What a refused extension's type begins with, in place of "envoy.extensions.": no proxy has such a type, so it rejects
// what holds it, with this text in its answer to the plane.
inline constexpr std::string_view kRefusedType = "HWS-XDS-053.deny.";

struct RefusedExtensions {
  std::uint64_t lua = 0;
  std::uint64_t wasm = 0;
};

// Resources of other types never name an extension that makes code.
bool may_hold_code(std::string_view type_url);
// The message with what isn't permitted made unusable, of the same length; nullopt if there's nothing of it.
std::optional<std::string> refuse_extensions(std::string_view message, const ExtensionPermits& permits,
                                             RefusedExtensions& refused);

// What: keeps Lua and Wasm from a proxy whose sandbox doesn't permit them. There Lua ends the process at its first use,
// and Wasm when its configuration arrives: one push would take the proxy of each host. So the type of such an extension
// is changed into one that doesn't exist, wherever it stands; the proxy rejects what holds it, keeps what it had, and
// goes on, and the plane gets the rejection from it, as any other. Nothing is taken out: what is missing unnoticed may
// be what protects the workload. Threading: the relay's strand. Failure: none here; HWS-XDS-053 is told with the
// proxy's answer. Metrics: hawser_xds_refused_extensions_total{extension}.
class PermitGate {
 public:
  PermitGate(HostPermits permits, Metrics& metrics) : permits_(std::move(permits)), metrics_(metrics) {}
  PermitGate(const PermitGate&) = delete;
  PermitGate& operator=(const PermitGate&) = delete;

  void permit(HostPermits permits) { permits_ = std::move(permits); }
  // Nullopt: pass it on as it is.
  std::optional<std::string> apply(std::string_view type_url, std::string_view bytes, const std::string& generation);

 private:
  void count(const char* extension, std::uint64_t found, const std::string& generation);

  HostPermits permits_;
  Metrics& metrics_;
};

}  // namespace hawser::xds
