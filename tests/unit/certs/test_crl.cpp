// SPDX-License-Identifier: Apache-2.0
#include "test_crl.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdlib>

#include "certs/openssl_ptr.h"
#include "certs/utc.h"

namespace hawser::certs::test {
namespace {

void need(bool held) {
  if (!held) std::abort();
}

struct Time {
  explicit Time(Loop::Wall when) : time(ASN1_TIME_set(nullptr, static_cast<time_t>(unix_seconds(when)))) {}
  ~Time() { ASN1_TIME_free(time); }
  Time(const Time&) = delete;
  Time& operator=(const Time&) = delete;
  ASN1_TIME* time;
};

}  // namespace

struct CrlIssuer::Keys {
  KeyPtr key;
  X509Ptr certificate;
};

CrlIssuer::CrlIssuer(const std::string& name) : keys_(std::make_unique<Keys>()) {
  keys_->key.reset(EVP_EC_gen("P-256"));
  keys_->certificate.reset(X509_new());
  X509* const made = keys_->certificate.get();
  const auto now = std::chrono::system_clock::now();
  const Time from(now - std::chrono::hours(24));
  const Time to(now + std::chrono::hours(24));
  need(X509_set_version(made, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(made), 1) == 1);
  X509_NAME* subject = X509_get_subject_name(made);
  need(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1,
                                  -1, 0) == 1);
  need(X509_set_issuer_name(made, subject) == 1 && X509_set_pubkey(made, keys_->key.get()) == 1 &&
       X509_set1_notBefore(made, from.time) == 1 && X509_set1_notAfter(made, to.time) == 1 &&
       X509_sign(made, keys_->key.get(), EVP_sha256()) > 0);
  BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(out.get(), made);
  pem_ = content_of(out.get());
}

CrlIssuer::~CrlIssuer() = default;

std::string CrlIssuer::list(Loop::Wall from, Loop::Wall to, int revoked) const {
  const Time begins(from);
  const Time ends(to);
  X509_CRL* const list = X509_CRL_new();
  need(X509_CRL_set_version(list, 1) == 1 &&
       X509_CRL_set_issuer_name(list, X509_get_subject_name(keys_->certificate.get())) == 1 &&
       X509_CRL_set1_lastUpdate(list, begins.time) == 1 && X509_CRL_set1_nextUpdate(list, ends.time) == 1);
  for (int i = 0; i < revoked; ++i) {
    X509_REVOKED* const one = X509_REVOKED_new();
    ASN1_INTEGER* const serial = ASN1_INTEGER_new();
    need(ASN1_INTEGER_set(serial, 100 + i) == 1 && X509_REVOKED_set_serialNumber(one, serial) == 1 &&
         X509_REVOKED_set_revocationDate(one, begins.time) == 1 && X509_CRL_add0_revoked(list, one) == 1);
    ASN1_INTEGER_free(serial);
  }
  need(X509_CRL_sign(list, keys_->key.get(), EVP_sha256()) > 0);
  BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_CRL(out.get(), list);
  X509_CRL_free(list);
  return content_of(out.get());
}

}  // namespace hawser::certs::test
