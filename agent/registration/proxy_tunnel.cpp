// SPDX-License-Identifier: Apache-2.0
#include "registration/proxy_tunnel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "registration/probe_tls.h"

namespace hawser::registration {
namespace {

namespace beast = boost::beast;
namespace ssl = boost::asio::ssl;
using boost::asio::ip::tcp;
using Local = boost::asio::local::stream_protocol;
using Failure = boost::system::error_code;

constexpr std::size_t kBuffer = 4096;

}  // namespace

class ProxyTunnel::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(AsioLoop& loop, const config::HealthProbe& probe, const ProbeSurroundings& around, Opened opened)
      : stream_(loop.context()),
        context_(ssl::context::tls_client),
        local_(loop.context()),
        port_(probe.port),
        address_(around.own_address),
        opened_(std::move(opened)) {
    if (around.identity) identity_ = around.identity();
    stream_.expires_after(probe.timeout);
    ready_ = set_up_proxy_tls(context_.native_handle(), probe, identity_);
    // Only a context that is set up may make a session.
    tls_.emplace(stream_, context_);
  }

  void start() {
    Failure bad;
    const auto address = boost::asio::ip::make_address(address_, bad);
    if (bad) ready_ = unwell("'" + address_ + "' is no IP address");
    if (!ready_) {
      boost::asio::post(stream_.get_executor(), [self = shared_from_this()] { self->fail(self->ready_.error()); });
      return;
    }
    stream_.async_connect(tcp::endpoint(address, port_), [self = shared_from_this()](const Failure& failed) {
      if (failed) return self->fail(unwell("can't connect to " + self->target() + ": " + failed.message()));
      self->shake_hands();
    });
  }

  void close() {
    opened_ = nullptr;
    Failure ignored;
    stream_.socket().close(ignored);
    local_.close(ignored);
  }

 private:
  std::string target() const { return "port " + std::to_string(port_) + " through the proxy"; }

  void shake_hands() {
    tls_->async_handshake(ssl::stream_base::client, [self = shared_from_this()](const Failure& failed) {
      if (failed) return self->fail(unwell("no TLS with " + self->target() + ": " + failed.message()));
      if (auto own = check_own_proxy(self->tls_->native_handle(), self->identity_.spiffe_id); !own)
        return self->fail(own.error());
      self->hand_over();
    });
  }

  void hand_over() {
    if (!opened_) return;
    int ends[2];
    // gRPC wants its descriptor non-blocking.
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
      return fail(unwell("no socket pair: " + std::generic_category().message(errno)));
    UniqueFd outer(ends[1]);
    local_.assign(Local(), ends[0]);
    read_local();
    read_proxy();
    std::exchange(opened_, nullptr)(std::move(outer));
  }

  void read_local() {
    local_.async_read_some(boost::asio::buffer(out_),
                           [self = shared_from_this()](const Failure& failed, std::size_t n) {
                             if (failed) return self->close();
                             boost::asio::async_write(*self->tls_, boost::asio::buffer(self->out_, n),
                                                      [self](const Failure& error, std::size_t) {
                                                        if (error) return self->close();
                                                        self->read_local();
                                                      });
                           });
  }

  void read_proxy() {
    tls_->async_read_some(boost::asio::buffer(in_), [self = shared_from_this()](const Failure& failed, std::size_t n) {
      if (failed) return self->close();
      boost::asio::async_write(self->local_, boost::asio::buffer(self->in_, n),
                               [self](const Failure& error, std::size_t) {
                                 if (error) return self->close();
                                 self->read_proxy();
                               });
    });
  }

  void fail(const Error& error) {
    auto opened = std::exchange(opened_, nullptr);
    close();
    if (opened) opened(error);
  }

  beast::tcp_stream stream_;
  ssl::context context_;
  std::optional<ssl::stream<beast::tcp_stream&>> tls_;
  Local::socket local_;
  std::uint16_t port_;
  std::string address_;
  Opened opened_;
  ProbeIdentity identity_;
  Status ready_;
  std::array<char, kBuffer> out_{};
  std::array<char, kBuffer> in_{};
};

std::unique_ptr<ProxyTunnel> ProxyTunnel::open(AsioLoop& loop, const config::HealthProbe& probe,
                                               const ProbeSurroundings& around, Opened opened) {
  auto connection = std::make_shared<Connection>(loop, probe, around, std::move(opened));
  connection->start();
  return std::unique_ptr<ProxyTunnel>(new ProxyTunnel(std::move(connection)));
}

ProxyTunnel::~ProxyTunnel() {
  connection_->close();
}

}  // namespace hawser::registration
