// SPDX-License-Identifier: Apache-2.0
#include "proxy/data_probe.h"

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/error.hpp>
#include <memory>
#include <string_view>
#include <utility>

namespace hawser::proxy {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using boost::system::error_code;

// No route of any listener of ours has this path: the worker says 404 without asking anybody.
constexpr std::string_view kRequest =
    "GET /hawser-data-path HTTP/1.1\r\nhost: hawser\r\nuser-agent: hawserd\r\nconnection: close\r\n\r\n";

class Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(AsioLoop& loop, std::uint16_t port, std::chrono::milliseconds timeout, std::function<void(Status)> done)
      : stream_(loop.context()), port_(port), done_(std::move(done)) {
    stream_.expires_after(timeout);
  }

  void run() {
    stream_.async_connect(tcp::endpoint(asio::ip::address_v4::loopback(), port_),
                          [self = shared_from_this()](const error_code& error) {
                            if (error) return self->fail(error);
                            self->ask();
                          });
  }

 private:
  void ask() {
    asio::async_write(
        stream_, asio::buffer(kRequest), [self = shared_from_this()](const error_code& error, std::size_t) {
          if (error) return self->fail(error);
          self->stream_.async_read_some(asio::buffer(self->answer_), [self](const error_code& read, std::size_t size) {
            if (read && size == 0) return self->fail(read);
            self->finish({});
          });
        });
  }

  void fail(const error_code& error) {
    const std::string where = "port " + std::to_string(port_);
    if (error == beast::error::timeout)
      return finish(Error(Code::kDeadlineExceeded, "HWS-PX-041", "no answer in time on " + where));
    const bool remote = error == asio::error::connection_refused || error == asio::error::connection_reset ||
                        error == asio::error::eof || error == asio::error::broken_pipe;
    finish(Error(remote ? Code::kUnavailable : Code::kInternal, "HWS-PX-041", where + ": " + error.message()));
  }

  void finish(Status result) {
    stream_.close();
    std::exchange(done_, nullptr)(std::move(result));
  }

  beast::basic_stream<tcp> stream_;
  std::uint16_t port_;
  std::function<void(Status)> done_;
  std::array<char, 16> answer_{};
};

}  // namespace

DataProbe http_data_probe(AsioLoop& loop, std::uint16_t port, std::chrono::milliseconds timeout) {
  return [&loop, port, timeout](std::function<void(Status)> done) {
    std::make_shared<Attempt>(loop, port, timeout, std::move(done))->run();
  };
}

}  // namespace hawser::proxy
