// SPDX-License-Identifier: Apache-2.0
#include "certs/tls_probe.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/fd.h"
#include "certs/connect_tunnel.h"
#include "certs/openssl_ptr.h"

namespace hawser::certs {
namespace {

using Clock = std::chrono::steady_clock;

struct Deadline {
  Clock::time_point at;
  // Milliseconds left, for poll(2).
  int left() const {
    return static_cast<int>(
        std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::milliseconds>(at - Clock::now()).count()));
  }
};

// OpenSSL writes with write(2), which raises SIGPIPE on a connection that the peer has reset. Held back from this
// thread, and one that came is taken off before the old mask is restored.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~WithoutSigpipe() {
    const timespec now{};
    if (sigismember(&before_, SIGPIPE) == 0)
      while (::sigtimedwait(&pipe_, nullptr, &now) > 0) {
      }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
};

bool wait_for(int fd, short events, const Deadline& deadline) {
  pollfd item{fd, events, 0};
  for (;;) {
    const int ready = ::poll(&item, 1, deadline.left());
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

bool split(const std::string& address, std::string& host, std::string& port) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  host = address.substr(0, colon);
  port = address.substr(colon + 1);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return !host.empty() && !port.empty();
}

int connect_one(const addrinfo& address, const Deadline& deadline, UniqueFd& out) {
  UniqueFd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  if (::connect(fd.get(), address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return errno;
    if (!wait_for(fd.get(), POLLOUT, deadline)) return ETIMEDOUT;
    int err = 0;
    socklen_t length = sizeof err;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &err, &length) != 0) return errno;
    if (err != 0) return err;
  }
  out = std::move(fd);
  return 0;
}

TlsFinding reach(const std::string& address, const Deadline& deadline, UniqueFd& out) {
  std::string host, port;
  if (!split(address, host, port)) return {TlsCause::kUnreachable, "'" + address + "' is not host:port"};
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); code != 0)
    return {TlsCause::kUnreachable, "can't resolve " + host + ": " + ::gai_strerror(code)};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  int err = EADDRNOTAVAIL;
  for (const addrinfo* item = found; item != nullptr && err != 0; item = item->ai_next)
    err = connect_one(*item, deadline, out);
  if (err == 0) return {};
  return {TlsCause::kUnreachable, "can't reach " + address + ": " + std::strerror(err)};
}

TlsFinding pass_proxy(const TlsTarget& target, int fd, const Deadline& deadline) {
  if (target.connect_to.empty()) return {};
  const int status = ask_for_tunnel(fd, target.connect_to, target.proxy_authorization, deadline.at);
  if (status >= 200 && status < 300) return {};
  return {TlsCause::kProxy, "the HTTP proxy at " + target.address + " answers " + std::to_string(status), status};
}

void trust(SSL_CTX* context, const std::string& roots_pem) {
  auto in = reader_of(roots_pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  while (X509* next = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
    const X509Ptr owner(next);
    X509_STORE_add_cert(store, next);
  }
  ERR_clear_error();
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);  // as gRPC does
}

bool is_address(const std::string& name) {
  in6_addr scratch{};
  return ::inet_pton(AF_INET, name.c_str(), &scratch) == 1 || ::inet_pton(AF_INET6, name.c_str(), &scratch) == 1;
}

void expect_name(SSL* ssl, const std::string& name) {
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  if (is_address(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str());
    return;
  }
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  X509_VERIFY_PARAM_set1_host(param, name.data(), name.size());
  SSL_set_tlsext_host_name(ssl, name.c_str());
}

// The names that the certificate does have, so that the operator sees which one to configure.
std::string names_of(X509* certificate) {
  constexpr int kMost = 5;
  std::string out;
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  for (int i = 0, taken = 0; names && i < sk_GENERAL_NAME_num(names.get()) && taken < kMost; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    const ASN1_STRING* text = name->d.dNSName;
    out += (out.empty() ? "" : ", ") + std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                                   static_cast<std::size_t>(ASN1_STRING_length(text)));
    ++taken;
  }
  return out.empty() ? "no DNS name" : out;
}

TlsFinding judge(SSL* ssl, const TlsTarget& target) {
  const long result = SSL_get_verify_result(ssl);
  const std::string text = X509_verify_cert_error_string(result);
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  switch (result) {
    case X509_V_OK:
      return {};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {TlsCause::kWrongName,
              "the server's certificate is for " + names_of(certificate.get()) + ", not for " + target.server_name};
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {TlsCause::kOutOfDate, "the server's certificate is out of date: " + text};
    default:
      return {TlsCause::kWrongRoot, "the server's certificate doesn't lead to the configured root: " + text};
  }
}

TlsFinding handshake(SSL* ssl, int fd, const TlsTarget& target, const Deadline& deadline) {
  for (;;) {
    ERR_clear_error();
    errno = 0;
    const int done = SSL_connect(ssl);
    if (done == 1) return judge(ssl, target);
    const int error = SSL_get_error(ssl, done);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
      if (wait_for(fd, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline)) continue;
      return {TlsCause::kUnreachable, target.address + " accepts connections, but doesn't answer the TLS handshake"};
    }
    if (error == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_WRONG_VERSION_NUMBER)
      return {TlsCause::kNotTls, target.address + " doesn't speak TLS"};
    if (error == SSL_ERROR_SYSCALL || error == SSL_ERROR_ZERO_RETURN ||
        ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
      return {TlsCause::kRefused, target.address + " closed the connection during the TLS handshake"};
    return {TlsCause::kRefused, "the TLS handshake with " + target.address + " failed: " + openssl_error()};
  }
}

}  // namespace

TlsFinding probe_tls(const TlsTarget& target, std::chrono::milliseconds timeout) {
  const Deadline deadline{Clock::now() + timeout};
  const WithoutSigpipe guard;
  UniqueFd fd;
  if (auto reached = reach(target.address, deadline, fd); reached.cause != TlsCause::kNone) return reached;
  if (auto led = pass_proxy(target, fd.get(), deadline); led.cause != TlsCause::kNone) return led;
  const SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  if (!context) return {TlsCause::kRefused, "OpenSSL: " + openssl_error()};
  trust(context.get(), target.roots_pem);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // The handshake goes on after a failed check, so that the certificate can be looked at; nothing is sent afterwards.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  static constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof kHttp2);
  const SslPtr ssl(SSL_new(context.get()));
  if (!ssl || SSL_set_fd(ssl.get(), fd.get()) != 1) return {TlsCause::kRefused, "OpenSSL: " + openssl_error()};
  expect_name(ssl.get(), target.server_name);
  return handshake(ssl.get(), fd.get(), target, deadline);
}

}  // namespace hawser::certs
