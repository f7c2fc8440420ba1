// SPDX-License-Identifier: Apache-2.0
#include "certs/der.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "certs/openssl_ptr.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxBytes = 1 << 20;
constexpr unsigned kMaxDerCertificates = 256;

Error unusable(const char* id, const std::string& why) {
  ERR_clear_error();
  return {Code::kInvalidArgument, id, why, "look at the program that it is from"};
}

}  // namespace

Result<std::string> certificates_from_der(std::string_view der) {
  if (der.size() > kMaxBytes) return unusable("HWS-ID-006", "more than 1 MiB of certificates");
  if (der.empty()) return unusable("HWS-ID-006", "no certificate found");
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* const end = at + der.size();
  BioPtr out(BIO_new(BIO_s_mem()));
  for (unsigned count = 0; at != end; ++count) {
    if (count == kMaxDerCertificates) return unusable("HWS-ID-006", "more than 256 certificates in one bundle");
    const X509Ptr next(d2i_X509(nullptr, &at, static_cast<long>(end - at)));
    if (!next || PEM_write_bio_X509(out.get(), next.get()) != 1)
      return unusable("HWS-ID-006", "broken certificate: " + openssl_error());
  }
  return content_of(out.get());
}

Result<Secret> key_from_der(std::string_view der) {
  if (der.size() > kMaxBytes) return unusable("HWS-ID-007", "more than 1 MiB of private key");
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const KeyPtr key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der.size())));
  if (!key) return unusable("HWS-ID-007", "the private key can't be read: " + openssl_error());
  BioPtr out(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return unusable("HWS-ID-007", "the private key can't be written: " + openssl_error());
  return Secret(content_of(out.get()));
}

}  // namespace hawser::certs
