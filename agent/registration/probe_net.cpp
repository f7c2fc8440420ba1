// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <sstream>
#include <vector>

#include "registration/probe_attempt.h"
#include "registration/probe_stream.h"
#include "registration/probe_tls.h"

namespace hawser::registration {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = boost::asio::ssl;
using boost::asio::ip::tcp;
using Failure = boost::system::error_code;
using Tls = ssl::stream<ProbeStream&>;

constexpr std::size_t kMaxBody = 64U * 1024U;
// The proxy accepts before it has asked the program: it is the program that refuses if the connection ends so soon.
constexpr std::chrono::milliseconds kStays{250};

class NetAttempt final : public std::enable_shared_from_this<NetAttempt> {
 public:
  using Done = ProbeAttempt::Done;

  NetAttempt(AsioLoop& loop, const config::HealthProbe& probe, const ProbeSurroundings& around, Done done)
      : stream_(loop.context()), stay_(loop.context()), probe_(probe), done_(std::move(done)) {
    parser_.body_limit(kMaxBody);
    hosts_ = probe.through_proxy ? std::vector<std::string>{around.own_address} : hosts_of(probe.host);
    if (probe.through_proxy && around.identity) identity_ = around.identity();
  }

  void start() {
    stream_.expires_after(probe_.timeout);  // for all that follows
    if (auto ready = prepare_tls(); !ready) return finish_later(ready.error());
    connect(0);
  }

  void cancel() {
    done_ = nullptr;
    stream_.cancel();
    stay_.cancel();
  }

 private:
  Status prepare_tls() {
    if (!probe_.tls && !probe_.through_proxy) return {};
    tls_context_.emplace(ssl::context::tls_client);
    SSL_CTX* raw = tls_context_->native_handle();
    auto ready = probe_.through_proxy ? set_up_proxy_tls(raw, probe_, identity_) : set_up_program_tls(raw, probe_);
    if (!ready) return ready;
    tls_.emplace(tcp_, *tls_context_);
    top_ = &over_tls_.emplace(*tls_);
    if (!probe_.through_proxy) return name_server(tls_->native_handle(), probe_);
    return probe_.tls ? prepare_inner_tls() : Status();
  }

  // The program's own TLS, which the proxy passes on as bytes.
  Status prepare_inner_tls() {
    inner_context_.emplace(ssl::context::tls_client);
    if (auto ready = set_up_program_tls(inner_context_->native_handle(), probe_); !ready) return ready;
    inner_tls_.emplace(*over_tls_, *inner_context_);
    top_ = &over_inner_tls_.emplace(*inner_tls_);
    return name_server(inner_tls_->native_handle(), probe_);
  }

  void connect(std::size_t host) {
    Failure bad;
    const auto address = boost::asio::ip::make_address(hosts_[host], bad);
    auto self = shared_from_this();
    if (bad) return finish_later(unwell("'" + hosts_[host] + "' is no IP address"));
    stream_.async_connect(tcp::endpoint(address, probe_.port), [self, host](const Failure& failed) {
      if (failed) return self->not_connected(host, failed);
      if (self->tls_) return self->shake_hands();
      self->connected();
    });
  }

  void not_connected(std::size_t host, const Failure& failed) {
    if (!done_) return;                // cancelled
    if (!refusal_) refusal_ = failed;  // the one of IPv4 says more
    if (failed == beast::error::timeout || host + 1 == hosts_.size())
      return finish(unwell("can't connect to " + target() + ": " + refusal_.message()));
    Failure ignored;
    stream_.socket().close(ignored);  // it is of the other family
    connect(host + 1);
  }

  void shake_hands() {
    shake_hands(*tls_, [self = shared_from_this()](const Failure& failed) {
      if (failed) return self->finish(unwell("no TLS with " + self->target() + ": " + failed.message()));
      if (self->probe_.through_proxy)
        if (auto own = check_own_proxy(self->tls_->native_handle(), self->identity_.spiffe_id); !own)
          return self->finish(own);
      if (self->inner_tls_) return self->shake_inner_hands();
      self->connected();
    });
  }

  static void shake_hands(Tls& tls, std::function<void(const Failure&)> done) {
    tls.async_handshake(ssl::stream_base::client, std::move(done));
  }

  void shake_inner_hands() {
    shake_hands(*inner_tls_, [self = shared_from_this()](const Failure& failed) {
      if (failed) return self->finish(unwell("no TLS with the program on " + self->target() + ": " + failed.message()));
      self->connected();
    });
  }

  void connected() {
    if (!done_) return;
    if (probe_.kind == config::HealthProbe::Kind::kHttp) return send();
    if (!probe_.through_proxy) return finish({});
    stays_open();
  }

  void stays_open() {
    stay_.expires_after(std::min<std::chrono::milliseconds>(kStays, probe_.timeout / 2));
    stay_.async_wait([self = shared_from_this()](const Failure& failed) {
      if (!failed) self->finish({});
    });
    top_->read(boost::asio::buffer(byte_), [self = shared_from_this()](const Failure& failed, std::size_t) {
      self->finish(failed ? Status(unwell("the proxy can't connect to the program: " + failed.message())) : Status());
    });
  }

  std::string target() const {
    std::string text = probe_.host.empty() ? std::string() : probe_.host + " ";
    text += "port " + std::to_string(probe_.port);
    return probe_.through_proxy ? text + " through the proxy" : text;
  }

  void send() {
    const std::string name = probe_.server_name.empty() ? "localhost" : probe_.server_name;
    http::request<http::empty_body> request(http::verb::get, probe_.http_path, 11);
    request.set(http::field::host, name + ":" + std::to_string(probe_.port));
    request.set(http::field::user_agent, "hawser-probe/1.0");
    request.set(http::field::connection, "close");
    for (const auto& [header, value] : probe_.http_headers) request.set(header, value);
    std::ostringstream text;
    text << request;
    request_ = text.str();
    boost::asio::async_write(*top_, boost::asio::buffer(request_),
                             [self = shared_from_this()](const Failure& error, std::size_t) {
                               if (error) return self->finish(unwell("can't send the request: " + error.message()));
                               self->receive();
                             });
  }

  void receive() {
    http::async_read_header(*top_, buffer_, parser_, [self = shared_from_this()](const Failure& error, std::size_t) {
      if (error) return self->finish(unwell("no HTTP answer: " + error.message()));
      const auto status = self->parser_.get().result_int();
      if (status >= 200 && status < 400) return self->finish({});
      self->finish(unwell("GET " + self->probe_.http_path + " answered " + std::to_string(status)));
    });
  }

  void finish_later(const Error& error) {
    boost::asio::post(stream_.get_executor(), [self = shared_from_this(), error] { self->finish(error); });
  }

  void finish(Status status) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(status));
    stay_.cancel();
    Failure ignored;
    stream_.socket().close(ignored);
  }

  beast::tcp_stream stream_;
  boost::asio::steady_timer stay_;
  config::HealthProbe probe_;
  std::vector<std::string> hosts_;
  ProbeIdentity identity_;
  Done done_;
  ProbeStreamOver<beast::tcp_stream> tcp_{stream_};
  std::optional<ssl::context> tls_context_;
  std::optional<Tls> tls_;
  std::optional<ProbeStreamOver<Tls>> over_tls_;
  std::optional<ssl::context> inner_context_;
  std::optional<Tls> inner_tls_;
  std::optional<ProbeStreamOver<Tls>> over_inner_tls_;
  ProbeStream* top_ = &tcp_;
  Failure refusal_;
  std::array<char, 1> byte_{};
  beast::flat_buffer buffer_{16U * 1024U};
  std::string request_;
  http::response_parser<http::string_body> parser_;
};

// Its owner holds this; the operations hold the attempt itself.
class NetHandle final : public ProbeAttempt {
 public:
  explicit NetHandle(std::shared_ptr<NetAttempt> attempt) : attempt_(std::move(attempt)) { attempt_->start(); }
  ~NetHandle() override { attempt_->cancel(); }

 private:
  std::shared_ptr<NetAttempt> attempt_;
};

}  // namespace

Error unwell(const std::string& what) {
  return {Code::kUnavailable, "HWS-RG-002", what};
}

std::vector<std::string> hosts_of(const std::string& configured) {
  if (configured.empty() || configured == "localhost") return {"127.0.0.1", "::1"};
  return {configured};
}

std::shared_ptr<ProbeAttempt> attempt_net(AsioLoop& loop, const config::HealthProbe& probe,
                                          const ProbeSurroundings& around, ProbeAttempt::Done done) {
  return std::make_shared<NetHandle>(std::make_shared<NetAttempt>(loop, probe, around, std::move(done)));
}

}  // namespace hawser::registration
