// SPDX-License-Identifier: Apache-2.0
#include "test_certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

namespace hawser::xds::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

Certificate make(EVP_PKEY* key, const std::string& subject, X509* issuer, EVP_PKEY* issuer_key) {
  Certificate out(X509_new(), X509_free);
  X509_set_version(out.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(out.get()), issuer == nullptr ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(out.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(out.get()), 3600);
  X509_set_pubkey(out.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
  X509_set_issuer_name(out.get(), X509_get_subject_name(issuer == nullptr ? out.get() : issuer));
  if (issuer == nullptr) {
    add_extension(out.get(), out.get(), NID_basic_constraints, "critical,CA:TRUE");
  } else {
    add_extension(out.get(), issuer, NID_subject_alt_name, "DNS:" + subject);
  }
  X509_sign(out.get(), issuer_key, EVP_sha256());
  return out;
}

template <typename Write>
std::string pem(Write write) {
  std::unique_ptr<BIO, decltype(&BIO_free_all)> memory(BIO_new(BIO_s_mem()), BIO_free_all);
  write(memory.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

TestCertificates make_certificates(const std::string& dns_name) {
  const Key root_key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const auto root = make(root_key.get(), "test root", nullptr, root_key.get());
  const auto leaf = make(key.get(), dns_name, root.get(), root_key.get());
  return {pem([&](BIO* out) { PEM_write_bio_X509(out, root.get()); }),
          pem([&](BIO* out) { PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr); }),
          pem([&](BIO* out) { PEM_write_bio_X509(out, leaf.get()); })};
}

}  // namespace hawser::xds::test
