// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "xds/istio_compat.h"
#include "xds/permit_gate.h"

namespace hawser::xds {

// What: what the plane sends, as one proxy can take it: without what only Istio's build has (istio_compat.h), and with
// what its sandbox doesn't permit made unusable (permit_gate.h). Each function gives the bytes for this proxy; nullopt:
// pass them on as they are.
// Threading: the relay's strand. Failure: none.
class Fit {
 public:
  Fit(IstioCompat& compat, PermitGate& gate, IstioExtensionSet lacking, std::string generation)
      : compat_(compat), gate_(gate), lacking_(lacking), generation_(std::move(generation)) {}

  // `node` is the serialised node of a stream's first request. Null: everything reaches this client as it came. Both
  // parts outlive it.
  static std::shared_ptr<Fit> make(IstioCompat& compat, PermitGate& gate, std::string_view node,
                                   const std::string& generation);

  // May resources of this type be changed at all?
  static bool concerns(std::string_view type_url);
  std::optional<std::string> delta_response(std::string_view type_url, std::string_view message);
  std::optional<std::string> sotw_response(std::string_view type_url, std::string_view message);
  std::optional<std::string> resource(std::string_view type_url, std::string_view resource);

 private:
  std::optional<std::string> apply(IstioCompat::Strip strip, std::string_view type_url, std::string_view bytes);

  IstioCompat& compat_;
  PermitGate& gate_;
  IstioExtensionSet lacking_;
  std::string generation_;
};

}  // namespace hawser::xds
