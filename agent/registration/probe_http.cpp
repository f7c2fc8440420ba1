// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <vector>

#include "registration/probe_attempt.h"

namespace hawser::registration {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using boost::asio::ip::tcp;

constexpr std::size_t kMaxBody = 64U * 1024U;

Error unwell(const std::string& what) {
  return {Code::kUnavailable, "HWS-RG-002", what};
}

// The program is asked on loopback unless told otherwise: local connections never meet PREROUTING, where inbound
// traffic is redirected, so that the answer is the program's own and not the proxy's. First in IPv4, then, as some
// listen on ::1 alone, in IPv6.
std::vector<std::string> hosts_of(const std::string& configured) {
  if (configured.empty() || configured == "localhost") return {"127.0.0.1", "::1"};
  return {configured};
}

class NetAttempt final : public std::enable_shared_from_this<NetAttempt> {
 public:
  using Done = ProbeAttempt::Done;

  NetAttempt(AsioLoop& loop, const config::HealthProbe& probe, bool speak_http, Done done)
      : stream_(loop.context()),
        probe_(probe),
        hosts_(hosts_of(probe.host)),
        speak_http_(speak_http),
        done_(std::move(done)) {
    parser_.body_limit(kMaxBody);
  }

  void start() {
    stream_.expires_after(probe_.timeout);  // for all that follows
    connect(0);
  }

  void cancel() {
    done_ = nullptr;
    stream_.cancel();
  }

 private:
  void connect(std::size_t host) {
    boost::system::error_code bad;
    const auto address = boost::asio::ip::make_address(hosts_[host], bad);
    auto self = shared_from_this();
    if (bad) {
      boost::asio::post(stream_.get_executor(),
                        [self, host] { self->finish(unwell("'" + self->hosts_[host] + "' is no IP address")); });
      return;
    }
    stream_.async_connect(tcp::endpoint(address, probe_.port), [self, host](const boost::system::error_code& failed) {
      if (failed) return self->not_connected(host, failed);
      if (!self->speak_http_) return self->finish({});
      self->send();
    });
  }

  void not_connected(std::size_t host, const boost::system::error_code& failed) {
    if (!done_) return;                // cancelled
    if (!refusal_) refusal_ = failed;  // the one of IPv4 says more
    if (failed == beast::error::timeout || host + 1 == hosts_.size())
      return finish(unwell("can't connect to " + target() + ": " + refusal_.message()));
    boost::system::error_code ignored;
    stream_.socket().close(ignored);  // it is of the other family
    connect(host + 1);
  }

  std::string target() const {
    return (probe_.host.empty() ? std::string() : probe_.host + " ") + "port " + std::to_string(probe_.port);
  }

  void send() {
    request_.method(http::verb::get);
    request_.target(probe_.http_path);
    request_.version(11);
    request_.set(http::field::host, "localhost:" + std::to_string(probe_.port));
    request_.set(http::field::user_agent, "hawser-probe/1.0");
    request_.set(http::field::connection, "close");
    for (const auto& [name, value] : probe_.http_headers) request_.set(name, value);
    http::async_write(stream_, request_,
                      [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
                        if (error) return self->finish(unwell("can't send the request: " + error.message()));
                        self->receive();
                      });
  }

  void receive() {
    http::async_read_header(
        stream_, buffer_, parser_, [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
          if (error) return self->finish(unwell("no HTTP answer: " + error.message()));
          const auto status = self->parser_.get().result_int();
          if (status >= 200 && status < 400) return self->finish({});
          self->finish(unwell("GET " + self->probe_.http_path + " answered " + std::to_string(status)));
        });
  }

  void finish(Status status) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(status));
    boost::system::error_code ignored;
    stream_.socket().close(ignored);
  }

  beast::tcp_stream stream_;
  config::HealthProbe probe_;
  std::vector<std::string> hosts_;
  bool speak_http_;
  Done done_;
  boost::system::error_code refusal_;
  beast::flat_buffer buffer_{16U * 1024U};
  http::request<http::empty_body> request_;
  http::response_parser<http::string_body> parser_;
};

// Its owner holds this; the operations hold the attempt itself.
class Handle final : public ProbeAttempt {
 public:
  explicit Handle(std::shared_ptr<NetAttempt> attempt) : attempt_(std::move(attempt)) { attempt_->start(); }
  ~Handle() override { attempt_->cancel(); }

 private:
  std::shared_ptr<NetAttempt> attempt_;
};

}  // namespace

std::shared_ptr<ProbeAttempt> attempt_http(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done) {
  return std::make_shared<Handle>(std::make_shared<NetAttempt>(loop, probe, true, std::move(done)));
}

std::shared_ptr<ProbeAttempt> attempt_tcp(AsioLoop& loop, const config::HealthProbe& probe, ProbeAttempt::Done done) {
  return std::make_shared<Handle>(std::make_shared<NetAttempt>(loop, probe, false, std::move(done)));
}

}  // namespace hawser::registration
