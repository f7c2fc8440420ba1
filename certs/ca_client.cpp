// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_client.h"

#include <algorithm>
#include <string_view>

#include "certs/utc.h"

namespace hawser::certs {

bool ExpectedId::matches(const std::string& id) const {
  if (id == spiffe_id) return true;
  constexpr std::string_view kScheme = "spiffe://";
  const auto slash = spiffe_id.find('/', kScheme.size());
  if (slash == std::string::npos) return false;
  return std::any_of(domain_aliases.begin(), domain_aliases.end(), [&](const std::string& domain) {
    return id == std::string(kScheme) + domain + spiffe_id.substr(slash);
  });
}

Result<IdentityPtr> accept_answer(Secret key, const CaClient::Answer& answer, const ExpectedId& expected,
                                  Loop::Wall now) {
  auto identity = make_identity(std::move(key), answer.chain_pem, answer.roots_pem);
  if (!identity) {
    const bool other_key = identity.error().id() == "HWS-ID-007";
    Error error(Code::kFailedPrecondition, other_key ? "HWS-CA-009" : "HWS-CA-007",
                other_key ? "the CA certified another key than ours" : "the CA's answer is not usable",
                "check that ca.address is the mesh's CA and that nothing rewrites its answers");
    error.because(identity.error());
    return error;
  }
  const Identity& got = **identity;
  if (!expected.matches(got.spiffe_id))
    return Error(Code::kFailedPrecondition, "HWS-CA-008",
                 "the CA certified " + got.spiffe_id + ", but this host is " + expected.spiffe_id,
                 "the token is for another service account, or mesh.trust_domain, mesh.namespace or "
                 "workload.service_account is wrong");
  if (got.expired_at(now))
    return Error(
        Code::kFailedPrecondition, "HWS-CA-010",
        "the CA's certificate ended at " + utc_text(got.not_after) + "; this host's clock says " + utc_text(now),
        "set this host's clock (timedatectl), or the CA's");
  return identity;
}

}  // namespace hawser::certs
