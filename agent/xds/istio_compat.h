// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
#include "base/result.h"
#include "xds/istio_extensions.h"
#include "xds/istio_strip.h"

namespace hawser::xds {

// How a default istiod and the host's proxies get on, for `hawser status`.
struct IstioCompatStatus {
  bool strip = true;
  // The newest proxy: does it say what its binary has, and what of Istio's own is not among it?
  bool known = false;
  std::string lacking;
  struct Removed {
    std::string extension;
    std::uint64_t count = 0;
  };
  std::vector<Removed> removed;
};

// What: whether Istio's own extensions are taken out for a proxy that lacks them (`compat.istio_extensions: strip`), or
// only reported (`keep`). Which ones a proxy has, its own first request says, so two generations with different
// binaries each get what they can take. What is taken out is logged once a name and counted.
// Threading: the relay's strand. Failure: HWS-XDS-050 with `keep`, once the plane has sent what a proxy lacks.
// Metrics: hawser_xds_stripped_total{extension}, filters taken out of messages on their way to a proxy.
class IstioCompat {
 public:
  // What changed: a sentence on the state, and the error if there is one.
  using Report = std::function<void(const std::string& detail, const std::optional<Error>& error)>;

  IstioCompat(bool strip, Metrics& metrics, Report report)
      : strip_(strip), metrics_(metrics), report_(std::move(report)) {}
  IstioCompat(const IstioCompat&) = delete;
  IstioCompat& operator=(const IstioCompat&) = delete;

  // What a proxy lacks, by the serialised node of its stream's first request; nullopt: it isn't an Envoy.
  std::optional<IstioExtensionSet> meet(std::string_view node);
  // One of istio_strip.h.
  using Strip = std::optional<std::string> (*)(std::string_view, const IstioExtensionSet&, IstioFindings&);
  // The bytes without what this proxy lacks; nullopt: pass them on as they are.
  std::optional<std::string> apply(Strip strip, const IstioExtensionSet& lacking, std::string_view type_url,
                                   std::string_view bytes, const std::string& generation);
  IstioCompatStatus status() const;

 private:
  void removed(const IstioFindings& found, const std::string& generation);
  void missing(const IstioFindings& found, const std::string& generation);

  bool strip_;
  Metrics& metrics_;
  Report report_;
  bool known_ = false;
  IstioExtensionSet lacking_;
  IstioExtensionSet told_;
  std::array<std::uint64_t, kIstioExtensionCount> counts_{};
};

}  // namespace hawser::xds
