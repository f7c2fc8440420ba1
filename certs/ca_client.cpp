// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_client.h"

#include "certs/utc.h"

namespace hawser::certs {

Result<IdentityPtr> accept_answer(Secret key, const CaClient::Answer& answer, const std::string& spiffe_id,
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
  if (got.spiffe_id != spiffe_id)
    return Error(Code::kFailedPrecondition, "HWS-CA-008",
                 "the CA certified " + got.spiffe_id + ", but this host is " + spiffe_id,
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
