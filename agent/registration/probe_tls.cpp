// SPDX-License-Identifier: Apache-2.0
#include "registration/probe_tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace hawser::registration {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;

Bio bio_of(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Certificate next_certificate(BIO* bio) {
  Certificate found(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
  if (!found) ERR_clear_error();  // the end of the text is no error
  return found;
}

Status trust(SSL_CTX* context, const std::string& pem) {
  const Bio bio = bio_of(pem);
  bool any = false;
  while (const Certificate root = next_certificate(bio.get()))
    any = X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root.get()) == 1 || any;
  if (!any) return unwell("the probe's CA holds no certificate");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return {};
}

Status present(SSL_CTX* context, const ProbeIdentity& identity) {
  const Bio chain = bio_of(identity.chain);
  const Certificate leaf = next_certificate(chain.get());
  const Bio key_text = bio_of(identity.key);
  const std::unique_ptr<EVP_PKEY, Free> key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  if (!leaf || !key || SSL_CTX_use_certificate(context, leaf.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    ERR_clear_error();
    return unwell("there is no identity to probe through the proxy with");
  }
  while (const Certificate next = next_certificate(chain.get())) SSL_CTX_add1_chain_cert(context, next.get());
  return {};
}

// What istiod's inbound filter chains tell the mesh's own traffic by. What is TLS itself is TCP to the proxy.
std::string protocols(const config::HealthProbe& probe) {
  std::string out;
  const auto add = [&out](const std::string& name) { out += static_cast<char>(name.size()) + name; };
  if (probe.kind == config::HealthProbe::Kind::kHttp && !probe.tls) add("istio-http/1.1");
  if (probe.kind == config::HealthProbe::Kind::kGrpc) add("istio-h2");
  add("istio");
  return out;
}

}  // namespace

Status set_up_program_tls(SSL_CTX* context, const config::HealthProbe& probe) {
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  return probe.ca_pem.empty() ? Status() : trust(context, probe.ca_pem);
}

Status set_up_proxy_tls(SSL_CTX* context, const config::HealthProbe& probe, const ProbeIdentity& identity) {
  if (auto trusted = trust(context, identity.roots); !trusted) return trusted;
  const std::string names = protocols(probe);
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(names.data()),
                          static_cast<unsigned>(names.size()));
  return present(context, identity);
}

Status name_server(SSL* session, const config::HealthProbe& probe) {
  if (probe.server_name.empty()) return {};
  if (SSL_set_tlsext_host_name(session, probe.server_name.c_str()) != 1) return unwell("server_name can't be sent");
  if (!probe.ca_pem.empty() && SSL_set1_host(session, probe.server_name.c_str()) != 1)
    return unwell("server_name can't be looked for");
  return {};
}

Status check_own_proxy(SSL* session, const std::string& spiffe_id) {
  const Certificate peer(SSL_get1_peer_certificate(session));
  const std::unique_ptr<GENERAL_NAMES, Free> names(
      peer ? static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(peer.get(), NID_subject_alt_name, nullptr, nullptr))
           : nullptr);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    const std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                           static_cast<std::size_t>(ASN1_STRING_length(uri)));
    if (text == spiffe_id) return {};
  }
  return unwell("who answered isn't this host's proxy");
}

}  // namespace hawser::registration
