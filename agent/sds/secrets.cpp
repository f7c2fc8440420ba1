// SPDX-License-Identifier: Apache-2.0
#include "sds/secrets.h"

#include <google/protobuf/any.pb.h>

#include "envoy/extensions/private_key_providers/cryptomb/v3alpha/cryptomb.pb.h"
#include "envoy/extensions/private_key_providers/qat/v3alpha/qat.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"

namespace hawser::sds {
namespace {

namespace providers = envoy::extensions::private_key_providers;
using envoy::extensions::transport_sockets::tls::v3::PrivateKeyProvider;
using envoy::extensions::transport_sockets::tls::v3::Secret;

constexpr char kTypes[] = "type.googleapis.com/envoy.extensions.private_key_providers.";

std::string pack(const Secret& secret) {
  google::protobuf::Any any;
  any.set_type_url(kSecretType);
  secret.SerializeToString(any.mutable_value());
  std::string out = any.SerializeAsString();
  certs::wipe(*any.mutable_value());
  return out;
}

// Both messages have the same two fields.
template <typename Config>
std::string provider_config(const certs::Secret& key_pem, const KeyProvider& provider) {
  Config config;
  config.mutable_private_key()->set_inline_bytes(std::string(key_pem.reveal()));
  const auto millis = provider.poll_delay.count();
  config.mutable_poll_delay()->set_seconds(millis / 1000);
  config.mutable_poll_delay()->set_nanos(static_cast<int>(millis % 1000) * 1'000'000);
  std::string out = config.SerializeAsString();
  certs::wipe(*config.mutable_private_key()->mutable_inline_bytes());
  return out;
}

void add_provider(PrivateKeyProvider& out, const certs::Secret& key_pem, const KeyProvider& provider) {
  out.set_provider_name(provider.name);
  out.set_fallback(provider.fallback);
  auto& config = *out.mutable_typed_config();
  if (provider.name == "qat") {
    config.set_type_url(std::string(kTypes) + "qat.v3alpha.QatPrivateKeyMethodConfig");
    config.set_value(provider_config<providers::qat::v3alpha::QatPrivateKeyMethodConfig>(key_pem, provider));
  } else {
    config.set_type_url(std::string(kTypes) + "cryptomb.v3alpha.CryptoMbPrivateKeyMethodConfig");
    config.set_value(provider_config<providers::cryptomb::v3alpha::CryptoMbPrivateKeyMethodConfig>(key_pem, provider));
  }
}

}  // namespace

std::string pack_certificate(const std::string& name, const certs::Secret& key_pem, const std::string& chain_pem,
                             const KeyProvider& provider) {
  Secret secret;
  secret.set_name(name);
  auto* certificate = secret.mutable_tls_certificate();
  certificate->mutable_certificate_chain()->set_inline_bytes(chain_pem);
  if (!provider.name.empty()) add_provider(*certificate->mutable_private_key_provider(), key_pem, provider);
  if (provider.name.empty() || provider.fallback)
    certificate->mutable_private_key()->set_inline_bytes(std::string(key_pem.reveal()));
  std::string out = pack(secret);
  if (certificate->has_private_key()) certs::wipe(*certificate->mutable_private_key()->mutable_inline_bytes());
  if (certificate->has_private_key_provider())
    certs::wipe(*certificate->mutable_private_key_provider()->mutable_typed_config()->mutable_value());
  return out;
}

std::string pack_roots(const std::string& name, const Roots& roots) {
  Secret secret;
  secret.set_name(name);
  auto* context = secret.mutable_validation_context();
  context->mutable_trusted_ca()->set_inline_bytes(roots.pem);
  if (!roots.crl_pem.empty()) {
    context->mutable_crl()->set_inline_bytes(roots.crl_pem);
    context->set_only_verify_leaf_cert_crl(roots.crl_of_leaf_only);
  }
  return pack(secret);
}

}  // namespace hawser::sds
