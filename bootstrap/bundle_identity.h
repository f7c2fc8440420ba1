// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"

// What: the stock agent's variables about certificates (cluster.env first, then proxyMetadata) as our keys; empty where
// nothing is said, and then our defaults hold. Pure. Failure: HWS-ON-007 for what Hawser doesn't do.
// Source: istio.io/istio pkg/istio-agent, security/pkg/nodeagent.
namespace hawser::bootstrap {

struct BundleIdentity {
  std::map<std::string, std::string> ca_headers;  // CA_HEADER_*, names in lower case
  std::string ca_root;                            // CA_ROOT_CA=SYSTEM: system
  std::string cert_signer;                        // ISTIO_META_CERT_SIGNER
  std::string key;       // ECC_SIGNATURE_ALGORITHM, ECC_CURVE, WORKLOAD_RSA_KEY_SIZE, as identity.key
  std::string ttl;       // SECRET_TTL, in seconds
  std::string renew_at;  // SECRET_GRACE_PERIOD_RATIO, the other way round
};

using Variables = std::map<std::string, std::string>;
// `path` is what errors call cluster.env.
Result<BundleIdentity> read_bundle_identity(const Variables& env, const Variables& proxy_metadata,
                                            const std::string& path, std::vector<std::string>& warnings);

}  // namespace hawser::bootstrap
