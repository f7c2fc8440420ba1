// SPDX-License-Identifier: Apache-2.0
#include "xds/istio_compat.h"

#include <utility>

#include "base/log.h"

namespace hawser::xds {
namespace {

std::string loss_of(IstioExtension extension) {
  switch (extension) {
    case IstioExtension::kAlpn:
      return "peers tell HTTP from TCP by the service's port, no longer by TLS";
    case IstioExtension::kMetadataExchange:
      return "TCP telemetry doesn't name the peer's workload";
    case IstioExtension::kPeerMetadata:
      return "HTTP telemetry doesn't name the peer's workload";
    case IstioExtension::kStats:
      return "the proxy has no istio_* metrics";
  }
  return "";
}

}  // namespace

std::optional<IstioExtensionSet> IstioCompat::meet(std::string_view node) {
  const auto lacking = lacking_istio_extensions(node);
  if (!lacking) return std::nullopt;
  known_ = true;
  lacking_ = *lacking;
  if (lacking_.none() && !strip_ && std::exchange(told_, {}).any())
    report_("the proxy has all that the control plane sends", std::nullopt);
  return lacking;
}

IstioCompatStatus IstioCompat::status() const {
  IstioCompatStatus out;
  out.strip = strip_;
  out.known = known_;
  out.lacking = istio_extension_names(lacking_);
  for (const auto extension : kIstioExtensions) {
    const auto count = counts_[static_cast<std::size_t>(extension)];
    if (count > 0) out.removed.push_back({std::string(istio_extension_name(extension)), count});
  }
  return out;
}

void IstioCompat::removed(const IstioFindings& found, const std::string& generation) {
  IstioExtensionSet news;
  for (const auto extension : kIstioExtensions) {
    const auto i = static_cast<std::size_t>(extension);
    if (found.filters[i] == 0) continue;
    const std::string name(istio_extension_name(extension));
    counts_[i] += found.filters[i];
    metrics_.add("hawser_xds_stripped_total", "Filters that the proxy lacks, taken out on their way to it.",
                 {{"extension", name}}, static_cast<double>(found.filters[i]));
    if (told_.test(i)) continue;
    news.set(i);
    log::info("an extension that only Istio's build of the proxy has is taken out of what the control plane sends",
              {{"extension", name}, {"generation", generation}, {"effect", loss_of(extension)}});
  }
  if (news.none()) return;
  told_ |= news;
  report_("taken out of listeners and clusters, because the proxy lacks them: " + istio_extension_names(told_),
          std::nullopt);
}

void IstioCompat::missing(const IstioFindings& found, const std::string& generation) {
  const auto news = found.extensions() & ~told_;
  if (news.none()) return;
  told_ |= news;
  const std::string names = istio_extension_names(told_);
  const Error error(Code::kFailedPrecondition, "HWS-XDS-050",
                    "the control plane sends extensions that the proxy (" + generation + ") lacks: " + names +
                        "; it will reject what holds them",
                    "set compat.istio_extensions: strip, or run Istio's build of Envoy, or let istiod not send them "
                    "(docs/compatibility.md)");
  log::warn(error.to_string());
  report_(error.message(), error);
}

std::optional<std::string> IstioCompat::apply(Strip strip, const IstioExtensionSet& lacking, std::string_view type_url,
                                              std::string_view bytes, const std::string& generation) {
  if (lacking.none() || !may_hold_istio_extensions(type_url)) return std::nullopt;
  IstioFindings found;
  auto out = strip(bytes, lacking, found);
  if (!found.any()) return std::nullopt;
  if (!strip_) {
    missing(found, generation);
    return std::nullopt;
  }
  removed(found, generation);
  return out;
}

}  // namespace hawser::xds
