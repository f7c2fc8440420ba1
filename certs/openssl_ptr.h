// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

// What: owners for OpenSSL's objects, by its own struct tags, so that no header of ours includes OpenSSL's.
// Threading: none of its own. Failure: none.
struct bio_st;
struct evp_pkey_st;
struct X509_name_st;
struct X509_req_st;
struct ssl_ctx_st;
struct ssl_st;
struct stack_st_X509;
struct x509_st;
struct x509_store_ctx_st;
struct x509_store_st;

namespace hawser::certs {

struct OpensslFree {
  void operator()(bio_st* object) const;
  void operator()(evp_pkey_st* object) const;
  void operator()(X509_req_st* object) const;
  void operator()(ssl_ctx_st* object) const;
  void operator()(ssl_st* object) const;
  void operator()(stack_st_X509* object) const;  // and its certificates
  void operator()(x509_st* object) const;
  void operator()(x509_store_ctx_st* object) const;
  void operator()(x509_store_st* object) const;
};

using BioPtr = std::unique_ptr<bio_st, OpensslFree>;
using KeyPtr = std::unique_ptr<evp_pkey_st, OpensslFree>;
using X509Ptr = std::unique_ptr<x509_st, OpensslFree>;
using X509ReqPtr = std::unique_ptr<X509_req_st, OpensslFree>;
using X509StackPtr = std::unique_ptr<stack_st_X509, OpensslFree>;
using X509StorePtr = std::unique_ptr<x509_store_st, OpensslFree>;
using X509StoreCtxPtr = std::unique_ptr<x509_store_ctx_st, OpensslFree>;
using SslPtr = std::unique_ptr<ssl_st, OpensslFree>;
using SslCtxPtr = std::unique_ptr<ssl_ctx_st, OpensslFree>;

// Reads PEM without copying it: `pem` must outlive the result.
BioPtr reader_of(std::string_view pem);
std::string content_of(bio_st* memory);
// RFC 2253: CN=name,O=organisation.
std::string name_text(const X509_name_st* name);
// The first text of this thread's error queue, which is emptied.
std::string openssl_error();

}  // namespace hawser::certs
