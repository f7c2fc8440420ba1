// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "certs/ca_protocol.h"

namespace hawser::certs {

// What: istio.v1.auth.IstioCertificateService, as istiod and CAs that stand in for it speak it. Its answer's last entry
// is the root bundle. Threading, failure: ca_protocol.h. Source: istio/api security/v1alpha1/ca.proto.
struct IstioCaSettings {
  std::string cluster_id;   // whose API server reviews the token
  std::string cert_signer;  // looked at where istiod hands requests to Kubernetes' signers
};
std::unique_ptr<CaProtocol> make_istio_protocol(IstioCaSettings settings);

}  // namespace hawser::certs
