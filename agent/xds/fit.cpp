// SPDX-License-Identifier: Apache-2.0
#include "xds/fit.h"

namespace hawser::xds {

std::shared_ptr<Fit> Fit::make(IstioCompat& compat, PermitGate& gate, std::string_view node,
                               const std::string& generation) {
  const auto lacking = compat.meet(node);
  // Not an Envoy; or one that was started by somebody else, in whatever sandbox.
  if (!lacking || (lacking->none() && generation.empty())) return nullptr;
  return std::make_shared<Fit>(compat, gate, *lacking, generation);
}

bool Fit::concerns(std::string_view type_url) {
  return may_hold_istio_extensions(type_url) || may_hold_code(type_url);
}

std::optional<std::string> Fit::delta_response(std::string_view type_url, std::string_view message) {
  return apply(strip_delta_response, type_url, message);
}

std::optional<std::string> Fit::sotw_response(std::string_view type_url, std::string_view message) {
  return apply(strip_sotw_response, type_url, message);
}

std::optional<std::string> Fit::resource(std::string_view type_url, std::string_view resource) {
  return apply(strip_resource, type_url, resource);
}

std::optional<std::string> Fit::apply(IstioCompat::Strip strip, std::string_view type_url, std::string_view bytes) {
  auto out = compat_.apply(strip, lacking_, type_url, bytes, generation_);
  if (generation_.empty()) return out;
  auto gated = gate_.apply(type_url, out ? std::string_view(*out) : bytes, generation_);
  return gated ? gated : out;
}

}  // namespace hawser::xds
