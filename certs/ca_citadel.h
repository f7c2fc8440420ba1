// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "certs/ca_chain.h"
#include "certs/ca_protocol.h"

namespace hawser::certs {

// What: istio.v1.auth.IstioCAService/HandleCSR, as the Citadel before istiod spoke it. Its answer has the chain up to
// the root, with or without it: what is its own issuer there is the root, else `roots` is. The proof goes in the
// request as well, because CAs of that time looked there. Threading, failure: ca_protocol.h; HWS-CA-017.
struct CitadelSettings {
  std::string cluster_id;
  std::function<KnownRoots()> roots;
};
std::unique_ptr<CaProtocol> make_citadel_protocol(CitadelSettings settings);

}  // namespace hawser::certs
