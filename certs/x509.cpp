// SPDX-License-Identifier: Apache-2.0
#include "certs/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "certs/openssl_ptr.h"
#include "certs/utc.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxBundle = 1 << 20;
constexpr std::size_t kMaxCertificates = 256;

Error bad_certificate(const std::string& why) {
  return {Code::kInvalidArgument, "HWS-ID-006", why, "check the PEM file, or the CA that sent it"};
}

Result<std::vector<X509Ptr>> read_all(const std::string& pem) {
  if (pem.size() > kMaxBundle) return bad_certificate("more than 1 MiB of certificates");
  std::vector<X509Ptr> out;
  auto in = reader_of(pem);
  while (X509* next = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
    out.emplace_back(next);
    if (out.size() > kMaxCertificates) return bad_certificate("more than 256 certificates in one bundle");
  }
  // The end of the text is told as "no start line"; anything else means a broken block.
  const unsigned long last = ERR_peek_last_error();
  if (ERR_GET_LIB(last) != ERR_LIB_PEM || ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
    return bad_certificate("broken certificate: " + openssl_error());
  ERR_clear_error();
  if (out.empty()) return bad_certificate("no certificate found");
  return out;
}

Result<X509Ptr> read_first(const std::string& pem) {
  auto all = read_all(pem);
  if (!all) return all.error();
  return std::move(all->front());
}

Loop::Wall wall_of(const ASN1_TIME* time) {
  std::tm utc{};
  if (ASN1_TIME_to_tm(time, &utc) != 1) return Loop::Wall::min();
  return certs::wall_of(::timegm(&utc));
}

std::string serial_of(X509* certificate) {
  std::unique_ptr<BIGNUM, decltype(&BN_free)> number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr),
                                                     BN_free);
  if (!number) return {};
  std::unique_ptr<char, void (*)(char*)> hex(BN_bn2hex(number.get()), [](char* text) { OPENSSL_free(text); });
  std::string out = hex ? hex.get() : "";
  for (char& c : out)
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::vector<std::string> uris_of(X509* certificate) {
  std::vector<std::string> out;
  std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const auto* text = name->d.uniformResourceIdentifier;
    out.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  return out;
}

std::string pem_of(X509* certificate) {
  BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(out.get(), certificate);
  return content_of(out.get());
}

std::string hex_of(const unsigned char* bytes, std::size_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < size; ++i) {
    out += kDigits[bytes[i] >> 4U];
    out += kDigits[bytes[i] & 15U];
  }
  return out;
}

std::string fingerprint(X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  return X509_digest(certificate, EVP_sha256(), digest, &size) == 1 ? hex_of(digest, size) : std::string();
}

std::string key_text(X509* certificate) {
  const EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr) return "unknown";
  char group[64];
  std::size_t size = 0;
  const std::string name = EVP_PKEY_get0_type_name(key) != nullptr ? EVP_PKEY_get0_type_name(key) : "unknown";
  if (EVP_PKEY_get_group_name(key, group, sizeof group, &size) == 1) return name + " " + std::string(group, size);
  ERR_clear_error();
  return name + " " + std::to_string(EVP_PKEY_get_bits(key));
}

}  // namespace

Result<std::vector<CertificateFacts>> describe_bundle(const std::string& pem) {
  auto all = read_all(pem);
  if (!all) return all.error();
  std::vector<CertificateFacts> out;
  for (const auto& certificate : *all) {
    X509* const one = certificate.get();
    out.push_back({name_text(X509_get_subject_name(one)), name_text(X509_get_issuer_name(one)), serial_of(one),
                   fingerprint(one), key_text(one), wall_of(X509_get0_notBefore(one)),
                   wall_of(X509_get0_notAfter(one))});
  }
  return out;
}

Result<Leaf> parse_leaf(const std::string& pem) {
  auto certificate = read_first(pem);
  if (!certificate) return certificate.error();
  Leaf leaf;
  const auto uris = uris_of(certificate->get());
  if (uris.size() != 1 || uris.front().rfind("spiffe://", 0) != 0 || uris.front().find('\0') != std::string::npos)
    return bad_certificate("the certificate doesn't have exactly one SPIFFE id");
  leaf.spiffe_id = uris.front();
  leaf.serial = serial_of(certificate->get());
  leaf.issuer = name_text(X509_get_issuer_name(certificate->get()));
  leaf.not_before = wall_of(X509_get0_notBefore(certificate->get()));
  leaf.not_after = wall_of(X509_get0_notAfter(certificate->get()));
  return leaf;
}

Status match_key(std::string_view key_pem, const std::string& chain_pem) {
  auto certificate = read_first(chain_pem);
  if (!certificate) return certificate.error();
  auto in = reader_of(key_pem);
  KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  if (!key || X509_check_private_key(certificate->get(), key.get()) != 1) {
    ERR_clear_error();
    return Error(Code::kInvalidArgument, "HWS-ID-007", "the private key doesn't belong to the certificate");
  }
  return {};
}

Result<std::vector<std::string>> split_bundle(const std::string& pem) {
  auto all = read_all(pem);
  if (!all) return all.error();
  std::vector<std::string> out;
  for (const auto& certificate : *all) {
    std::string text = pem_of(certificate.get());
    if (std::find(out.begin(), out.end(), text) == out.end()) out.push_back(std::move(text));
  }
  return out;
}

Status verify_chain(const std::string& chain_pem, const std::string& roots_pem) {
  auto chain = read_all(chain_pem);
  if (!chain) return chain.error();
  auto roots = read_all(roots_pem);
  if (!roots) return roots.error();
  X509StorePtr store(X509_STORE_new());
  for (const auto& root : *roots) X509_STORE_add_cert(store.get(), root.get());
  X509StackPtr intermediates(sk_X509_new_null());
  for (auto it = chain->begin() + 1; it != chain->end(); ++it) sk_X509_push(intermediates.get(), it->release());
  X509StoreCtxPtr context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), store.get(), chain->front().get(), intermediates.get()) != 1)
    return bad_certificate("can't verify: " + openssl_error());
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
  if (X509_verify_cert(context.get()) == 1) return {};
  ERR_clear_error();
  return Error(Code::kInvalidArgument, "HWS-ID-008",
               std::string("the certificate doesn't lead to the roots: ") +
                   X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
}

std::string sha256_hex(std::string_view content) {
  static constexpr char kHex[] = "0123456789abcdef";
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(content.data()), content.size(), digest);
  std::string out;
  for (const unsigned char byte : digest) {
    out += kHex[byte >> 4U];
    out += kHex[byte & 15U];
  }
  return out;
}

}  // namespace hawser::certs
