// SPDX-License-Identifier: Apache-2.0
#include "test_ca.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "certs/csr.h"
#include "certs/openssl_ptr.h"
#include "certs/utc.h"

namespace hawser::certs::test {
namespace {

void must(bool held, const char* what) {
  if (held) return;
  std::fprintf(stderr, "test CA: %s: %s\n", what, openssl_error().c_str());
  std::abort();
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  must(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, "extension");
  X509_EXTENSION_free(extension);
}

X509Ptr start(EVP_PKEY* key, const std::string& common_name, Validity validity) {
  X509Ptr out(X509_new());
  X509_set_version(out.get(), 2);
  unsigned char serial[16];
  RAND_bytes(serial, sizeof serial);
  serial[0] &= 0x7fU;
  BIGNUM* number = BN_bin2bn(serial, sizeof serial, nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(out.get()));
  BN_free(number);
  ASN1_TIME_set(X509_getm_notBefore(out.get()), unix_seconds(validity.from));
  ASN1_TIME_set(X509_getm_notAfter(out.get()), unix_seconds(validity.to));
  X509_set_pubkey(out.get(), key);
  if (!common_name.empty())
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1, 0);
  return out;
}

std::string pem_of(X509* certificate) {
  BioPtr out(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(out.get(), certificate) == 1, "PEM");
  return content_of(out.get());
}

X509ReqPtr read_csr(const std::string& pem) {
  auto in = reader_of(pem);
  X509ReqPtr out(PEM_read_bio_X509_REQ(in.get(), nullptr, nullptr, nullptr));
  must(out != nullptr, "CSR");
  return out;
}

}  // namespace

struct TestCa::Keys {
  KeyPtr root_key{EVP_EC_gen("P-256")};
  KeyPtr intermediate_key{EVP_EC_gen("P-256")};
  X509Ptr root;
  X509Ptr intermediate;

  std::string leaf(EVP_PKEY* key, const std::string& name, Validity validity) const {
    auto out = start(key, "", validity);
    X509_set_issuer_name(out.get(), X509_get_subject_name(intermediate.get()));
    extend(out.get(), intermediate.get(), NID_subject_alt_name, "critical," + name);
    extend(out.get(), intermediate.get(), NID_ext_key_usage, "serverAuth,clientAuth");
    must(X509_sign(out.get(), intermediate_key.get(), EVP_sha256()) > 0, "sign");
    return pem_of(out.get());
  }
};

TestCa::TestCa(const std::string& name) : keys_(std::make_unique<Keys>()) {
  // Far apart, because tests have clocks of their own.
  const Validity long_time{wall_of(1'000'000'000), wall_of(4'000'000'000)};
  keys_->root = start(keys_->root_key.get(), name + " root", long_time);
  X509_set_issuer_name(keys_->root.get(), X509_get_subject_name(keys_->root.get()));
  extend(keys_->root.get(), keys_->root.get(), NID_basic_constraints, "critical,CA:TRUE");
  must(X509_sign(keys_->root.get(), keys_->root_key.get(), EVP_sha256()) > 0, "sign root");
  keys_->intermediate = start(keys_->intermediate_key.get(), name + " intermediate", long_time);
  X509_set_issuer_name(keys_->intermediate.get(), X509_get_subject_name(keys_->root.get()));
  extend(keys_->intermediate.get(), keys_->root.get(), NID_basic_constraints, "critical,CA:TRUE");
  must(X509_sign(keys_->intermediate.get(), keys_->root_key.get(), EVP_sha256()) > 0, "sign intermediate");
  root_pem_ = pem_of(keys_->root.get());
  intermediate_pem_ = pem_of(keys_->intermediate.get());
}

TestCa::~TestCa() = default;

std::string TestCa::sign_csr(const std::string& csr_pem, const std::string& uri, Validity validity) {
  const auto request = read_csr(csr_pem);
  return keys_->leaf(X509_REQ_get0_pubkey(request.get()), "URI:" + uri, validity);
}

std::string TestCa::server_certificate(const std::string& key_pem, const std::string& dns, Validity validity) {
  auto in = reader_of(key_pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  must(key != nullptr, "key");
  return keys_->leaf(key.get(), "DNS:" + dns, validity);
}

IdentityPtr TestCa::identity(const std::string& spiffe_id, Validity validity) {
  auto key = make_key(KeyKind::kEcP256);
  must(key.has_value(), "key");
  auto csr = make_csr(*key, spiffe_id);
  must(csr.has_value(), "csr");
  auto out = make_identity(std::move(*key), sign_csr(*csr, spiffe_id, validity) + intermediate_pem_, root_pem_);
  if (!out) std::fprintf(stderr, "%s\n", out.error().to_string().c_str());
  must(out.has_value(), "identity");
  return *out;
}

std::string csr_text(const std::string& csr_pem) {
  const auto request = read_csr(csr_pem);
  BioPtr out(BIO_new(BIO_s_mem()));
  X509_REQ_print(out.get(), request.get());
  return content_of(out.get());
}

int csr_names(const std::string& csr_pem) {
  const auto request = read_csr(csr_pem);
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request.get());
  auto* names = static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr));
  const int count = sk_GENERAL_NAME_num(names);
  GENERAL_NAMES_free(names);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  return count;
}

bool csr_signature_holds(const std::string& csr_pem) {
  const auto request = read_csr(csr_pem);
  return X509_REQ_verify(request.get(), X509_REQ_get0_pubkey(request.get())) == 1;
}

TempFolder::TempFolder() {
  std::string name = std::filesystem::temp_directory_path().string() + "/hawser-test-XXXXXX";
  must(::mkdtemp(name.data()) != nullptr, "temporary folder");
  path_ = name;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace hawser::certs::test
