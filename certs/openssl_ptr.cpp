// SPDX-License-Identifier: Apache-2.0
#include "certs/openssl_ptr.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace hawser::certs {

void OpensslFree::operator()(BIO* object) const {
  BIO_free_all(object);
}
void OpensslFree::operator()(EVP_PKEY* object) const {
  EVP_PKEY_free(object);
}
void OpensslFree::operator()(X509_REQ* object) const {
  X509_REQ_free(object);
}
void OpensslFree::operator()(SSL_CTX* object) const {
  SSL_CTX_free(object);
}
void OpensslFree::operator()(SSL* object) const {
  SSL_free(object);
}
void OpensslFree::operator()(STACK_OF(X509) * object) const {
  sk_X509_pop_free(object, X509_free);
}
void OpensslFree::operator()(X509* object) const {
  X509_free(object);
}
void OpensslFree::operator()(X509_STORE_CTX* object) const {
  X509_STORE_CTX_free(object);
}
void OpensslFree::operator()(X509_STORE* object) const {
  X509_STORE_free(object);
}

BioPtr reader_of(std::string_view pem) {
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

std::string content_of(BIO* memory) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(memory, &data);
  return length > 0 ? std::string(data, static_cast<std::size_t>(length)) : std::string();
}

std::string name_text(const X509_NAME* name) {
  BioPtr out(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253);
  return content_of(out.get());
}

std::string openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "no detail";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

}  // namespace hawser::certs
