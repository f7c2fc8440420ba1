// SPDX-License-Identifier: Apache-2.0
#include "certs/csr.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "certs/openssl_ptr.h"

namespace hawser::certs {
namespace {

struct NamesFree {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
  void operator()(STACK_OF(X509_EXTENSION) * list) const { sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free); }
};

Error crypto_error(const std::string& what) {
  return {Code::kInternal, "HWS-ID-012", what + ": " + openssl_error(),
          "check the OpenSSL installation (openssl version -a)"};
}

// Built by hand rather than by OpenSSL's configuration syntax, in which a comma in the id would start another name.
bool add_uri_san(X509_REQ* request, const std::string& uri) {
  std::unique_ptr<GENERAL_NAMES, NamesFree> names(GENERAL_NAMES_new());
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_IA5STRING* value = ASN1_IA5STRING_new();
  if (!names || name == nullptr || value == nullptr ||
      ASN1_STRING_set(value, uri.data(), static_cast<int>(uri.size())) != 1) {
    GENERAL_NAME_free(name);
    ASN1_IA5STRING_free(value);
    return false;
  }
  GENERAL_NAME_set0_value(name, GEN_URI, value);
  if (sk_GENERAL_NAME_push(names.get(), name) <= 0) {
    GENERAL_NAME_free(name);
    return false;
  }
  constexpr int kCritical = 1;
  X509_EXTENSION* extension = X509V3_EXT_i2d(NID_subject_alt_name, kCritical, names.get());
  if (extension == nullptr) return false;
  std::unique_ptr<STACK_OF(X509_EXTENSION), NamesFree> list(sk_X509_EXTENSION_new_null());
  if (!list || sk_X509_EXTENSION_push(list.get(), extension) <= 0) {
    X509_EXTENSION_free(extension);
    return false;
  }
  return X509_REQ_add_extensions(request, list.get()) == 1;
}

// As the stock agent's: one Organization, empty. Given a raw string type, OpenSSL doesn't enforce its minimum of one
// letter.
bool set_subject(X509_REQ* request) {
  static const unsigned char kNothing = 0;
  return X509_NAME_add_entry_by_NID(X509_REQ_get_subject_name(request), NID_organizationName, V_ASN1_PRINTABLESTRING,
                                    &kNothing, 0, -1, 0) == 1;
}

EVP_PKEY* generate(KeyKind kind) {
  switch (kind) {
    case KeyKind::kEcP256:
      return EVP_EC_gen("P-256");
    case KeyKind::kEcP384:
      return EVP_EC_gen("P-384");
    case KeyKind::kRsa2048:
      return EVP_RSA_gen(2048);
    case KeyKind::kRsa3072:
      return EVP_RSA_gen(3072);
    case KeyKind::kRsa4096:
      return EVP_RSA_gen(4096);
  }
  return nullptr;
}

// As strong as the key: P-384 calls for SHA-384 (RFC 5480 §4).
const EVP_MD* digest_for(const EVP_PKEY* key) {
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();
}

}  // namespace

Result<Secret> make_key(KeyKind kind) {
  KeyPtr key(generate(kind));
  BioPtr out(BIO_new(BIO_s_secmem()));
  if (!key || !out || PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return crypto_error("can't make a key");
  return Secret(content_of(out.get()));
}

Result<std::string> make_csr(const Secret& key_pem, const std::string& spiffe_id) {
  if (spiffe_id.rfind("spiffe://", 0) != 0)
    return Error(Code::kInvalidArgument, "HWS-ID-012", "'" + spiffe_id + "' is no SPIFFE id",
                 "check mesh and workload in hawser.yaml");
  auto in = reader_of(key_pem.reveal());
  KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  X509ReqPtr request(X509_REQ_new());
  BioPtr out(BIO_new(BIO_s_mem()));
  if (!key || !request || !out) return crypto_error("can't read the key");
  constexpr long kVersion1 = 0;
  if (X509_REQ_set_version(request.get(), kVersion1) != 1 || !set_subject(request.get()) ||
      !add_uri_san(request.get(), spiffe_id) || X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), digest_for(key.get())) <= 0 ||
      PEM_write_bio_X509_REQ(out.get(), request.get()) != 1)
    return crypto_error("can't make a certificate request");
  return content_of(out.get());
}

}  // namespace hawser::certs
