// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_errors.h"

namespace hawser::certs {

Error refused_error(Code code, const std::string& text, const std::string& service) {
  const std::string why = text.empty() ? "no detail" : text;
  switch (code) {
    case Code::kUnauthenticated:
      return {
          code, "HWS-CA-004", "the CA doesn't accept this host's proof of identity: " + why,
          "make a new bundle or token and run hawser join again; check that mesh.cluster_id is the token's cluster"};
    case Code::kPermissionDenied:
      return {code, "HWS-CA-005", "the CA doesn't let this identity have a certificate: " + why,
              "let the service account in at the CA, or join with another one"};
    case Code::kInvalidArgument:
    case Code::kFailedPrecondition:
    case Code::kOutOfRange:
    case Code::kNotFound:
      return {code, "HWS-CA-006", "the CA refuses the request: " + why,
              "check identity.ttl against the CA's limit, and the CA's log"};
    case Code::kUnimplemented:
      return {code, "HWS-CA-006", "there is no " + service + " at the CA's address: " + why,
              "set ca.address to the mesh's CA, and ca.type to what it speaks"};
    default:
      return {code, "HWS-CA-013", "the CA failed: " + why, "look at the CA's log; it is asked again"};
  }
}

Error unreached_error(const TlsFinding& finding) {
  switch (finding.cause) {
    case TlsCause::kWrongRoot:
      return {Code::kFailedPrecondition, "HWS-CA-001", "wrong CA root: " + finding.detail,
              "take root-cert.pem from the mesh that serves the CA and run hawser join again"};
    case TlsCause::kWrongName:
      return {Code::kFailedPrecondition, "HWS-CA-002", "wrong server name: " + finding.detail,
              "set control_plane.address, ca.address or ca.tls_name to a name that the certificate has"};
    case TlsCause::kOutOfDate:
      return {Code::kFailedPrecondition, "HWS-CA-014", finding.detail,
              "renew the CA's serving certificate, or set this host's clock"};
    case TlsCause::kNotTls:
      return {Code::kFailedPrecondition, "HWS-CA-015", finding.detail + "; a token isn't sent in clear",
              "use the CA's TLS port (15012, not 15010)"};
    case TlsCause::kRefused:
      return {Code::kUnavailable, "HWS-CA-012", finding.detail,
              "look at the CA's log, and at what is between it and this host"};
    default:
      return {Code::kUnavailable, "HWS-CA-003", finding.detail,
              "check the CA's address, its service and the firewalls on the way"};
  }
}

Error unusable_answer(const std::string& why) {
  return {Code::kInternal, "HWS-CA-007", "the CA's answer " + why, "check that ca.address is the mesh's CA"};
}

}  // namespace hawser::certs
