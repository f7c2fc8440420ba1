// SPDX-License-Identifier: Apache-2.0
#include "tls_server.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "certs/openssl_ptr.h"

namespace hawser::certs::test {
namespace {

void must(bool held, const char* what) {
  if (held) return;
  std::perror(what);
  std::abort();
}

std::string address_of(int fd) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  must(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

UniqueFd bound() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  must(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "bind");
  return fd;
}

// Accepts until told to stop.
class Acceptor {
 public:
  Acceptor(int listener, std::function<void(UniqueFd)> serve) : stop_(::eventfd(0, EFD_CLOEXEC)) {
    thread_ = std::thread([this, listener, serve = std::move(serve)] {
      // OpenSSL writes to peers that have gone. In this thread alone, so that the code under test has to see to itself.
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      for (;;) {
        pollfd items[] = {{listener, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
        if (::poll(items, 2, -1) < 0 || items[1].revents != 0) return;
        serve(UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)));
      }
    });
  }
  ~Acceptor() {
    const std::uint64_t one = 1;
    must(::write(stop_.get(), &one, sizeof one) == sizeof one, "stop");
    thread_.join();
  }

 private:
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace

struct PlainServer::Impl {
  UniqueFd listener = bound();
  std::vector<UniqueFd> held;
  std::unique_ptr<Acceptor> acceptor;
};

PlainServer::PlainServer(Manner manner) : impl_(std::make_unique<Impl>()), address_(address_of(impl_->listener.get())) {
  if (manner == Manner::kRefuse) return;  // bound, so that nobody else gets it, but never listening
  must(::listen(impl_->listener.get(), 8) == 0, "listen");
  impl_->acceptor = std::make_unique<Acceptor>(impl_->listener.get(), [impl = impl_.get(), manner](UniqueFd fd) {
    if (manner == Manner::kTalk) (void)!::write(fd.get(), "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    if (manner != Manner::kClose) impl->held.push_back(std::move(fd));
  });
}

PlainServer::~PlainServer() = default;

namespace {

void load(SSL_CTX* context, const std::string& key_pem, const std::string& chain_pem) {
  auto key_in = reader_of(key_pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(key_in.get(), nullptr, nullptr, nullptr));
  auto chain_in = reader_of(chain_pem);
  const X509Ptr leaf(PEM_read_bio_X509(chain_in.get(), nullptr, nullptr, nullptr));
  must(SSL_CTX_use_certificate(context, leaf.get()) == 1 && SSL_CTX_use_PrivateKey(context, key.get()) == 1,
       "certificate");
  while (X509* next = PEM_read_bio_X509(chain_in.get(), nullptr, nullptr, nullptr))
    SSL_CTX_add0_chain_cert(context, next);
  ERR_clear_error();
}

// RFC 9113 §6.5, §6.8: an empty SETTINGS, and a GOAWAY that has seen no stream, without error.
constexpr unsigned char kGoodbye[] = {0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

int choose_h2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char*, unsigned int, void*) {
  static const unsigned char kH2[] = {'h', '2'};
  *out = kH2;
  *size = sizeof kH2;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

struct TlsServer::Impl {
  UniqueFd listener = bound();
  SslCtxPtr context{SSL_CTX_new(TLS_server_method())};
  std::unique_ptr<Acceptor> acceptor;
};

TlsServer::TlsServer(const std::string& key_pem, const std::string& chain_pem)
    : impl_(std::make_unique<Impl>()), address_(address_of(impl_->listener.get())) {
  load(impl_->context.get(), key_pem, chain_pem);
  must(::listen(impl_->listener.get(), 8) == 0, "listen");
  impl_->acceptor = std::make_unique<Acceptor>(impl_->listener.get(), [impl = impl_.get()](UniqueFd fd) {
    const timeval limit{5, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const SslPtr ssl(SSL_new(impl->context.get()));
    SSL_set_fd(ssl.get(), fd.get());
    SSL_accept(ssl.get());
    ERR_clear_error();
  });
}

TlsServer::~TlsServer() = default;

struct OddServer::Impl {
  UniqueFd listener = bound();
  SslCtxPtr context{SSL_CTX_new(TLS_server_method())};
  std::vector<UniqueFd> held;
  std::unique_ptr<Acceptor> acceptor;

  void serve(UniqueFd fd, Manner manner) {
    const timeval limit{5, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const SslPtr ssl(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), fd.get());
    if (SSL_accept(ssl.get()) == 1 && manner == Manner::kGoAway) {
      SSL_write(ssl.get(), kGoodbye, sizeof kGoodbye);
      SSL_shutdown(ssl.get());
    }
    ERR_clear_error();
    if (manner == Manner::kMute) held.push_back(std::move(fd));
  }
};

OddServer::OddServer(Manner manner, const std::string& key_pem, const std::string& chain_pem)
    : impl_(std::make_unique<Impl>()), address_(address_of(impl_->listener.get())) {
  load(impl_->context.get(), key_pem, chain_pem);
  SSL_CTX_set_alpn_select_cb(impl_->context.get(), choose_h2, nullptr);
  if (manner == Manner::kWantsCertificate) {
    // TLS 1.3 would end the handshake first, for the client
    SSL_CTX_set_max_proto_version(impl_->context.get(), TLS1_2_VERSION);
    SSL_CTX_set_verify(impl_->context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  must(::listen(impl_->listener.get(), 8) == 0, "listen");
  impl_->acceptor = std::make_unique<Acceptor>(
      impl_->listener.get(), [impl = impl_.get(), manner](UniqueFd fd) { impl->serve(std::move(fd), manner); });
}

OddServer::~OddServer() = default;

}  // namespace hawser::certs::test
