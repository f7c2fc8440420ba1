// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "certs/ca_protocol.h"

namespace hawser::certs {

// What: google.security.meshca.v1.MeshCertificateService, Google's managed CA. A request has an id, so that the same
// one again, after an answer that was lost, is no second certificate. Threading, failure: ca_protocol.h.
struct MeshCaSettings {
  std::string location;  // zone or region; the server routes by it
};
std::unique_ptr<CaProtocol> make_meshca_protocol(MeshCaSettings settings);

}  // namespace hawser::certs
