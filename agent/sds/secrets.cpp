// SPDX-License-Identifier: Apache-2.0
#include "sds/secrets.h"

#include <google/protobuf/any.pb.h>

#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"

namespace hawser::sds {
namespace {

using envoy::extensions::transport_sockets::tls::v3::Secret;

std::string pack(const Secret& secret) {
  google::protobuf::Any any;
  any.set_type_url(kSecretType);
  secret.SerializeToString(any.mutable_value());
  std::string out = any.SerializeAsString();
  certs::wipe(*any.mutable_value());
  return out;
}

}  // namespace

std::string pack_certificate(const certs::Identity& identity) {
  Secret secret;
  secret.set_name(kCertificateName);
  auto* certificate = secret.mutable_tls_certificate();
  certificate->mutable_certificate_chain()->set_inline_bytes(identity.chain_pem);
  certificate->mutable_private_key()->set_inline_bytes(std::string(identity.key_pem.reveal()));
  std::string out = pack(secret);
  certs::wipe(*certificate->mutable_private_key()->mutable_inline_bytes());
  return out;
}

std::string pack_roots(const Roots& roots) {
  Secret secret;
  secret.set_name(kRootsName);
  auto* context = secret.mutable_validation_context();
  context->mutable_trusted_ca()->set_inline_bytes(roots.pem);
  if (!roots.crl_pem.empty()) {
    context->mutable_crl()->set_inline_bytes(roots.crl_pem);
    context->set_only_verify_leaf_cert_crl(roots.crl_of_leaf_only);
  }
  return pack(secret);
}

}  // namespace hawser::sds
