// SPDX-License-Identifier: Apache-2.0
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include "load.h"

namespace hawser::hand_over {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

auto into(error_code& error) {
  return asio::redirect_error(asio::use_awaitable, error);
}

asio::awaitable<void> until(Clock::time_point at) {
  asio::steady_timer timer(co_await asio::this_coro::executor, at);
  error_code ignored;
  co_await timer.async_wait(into(ignored));
}

// Has the other side closed it, or said something unasked? Then it is no longer of use.
bool stale(tcp::socket& socket) {
  char byte = 0;
  error_code error;
  socket.non_blocking(true, error);
  socket.receive(asio::buffer(&byte, 1), tcp::socket::message_peek, error);
  return error != asio::error::would_block;
}

class Http {
 public:
  Http(Tally& tally, const Target& target, std::chrono::nanoseconds interval)
      : tally_(tally), target_(target), interval_(interval) {
    request_.method(http::verb::get);
    request_.target("/load");
    request_.set(http::field::host, target.address.address().to_string());
    request_.keep_alive(target.kind == Kind::kHttp1);
  }

  asio::awaitable<void> run(Clock::time_point first) {
    beast::tcp_stream stream(co_await asio::this_coro::executor);
    for (auto due = first;; due += interval_) {
      if (const auto now = Clock::now(); due + std::chrono::seconds(1) < now) due = now;  // after an outage
      co_await until(due);
      if (stream.socket().is_open() && stale(stream.socket())) stream.close();
      const std::string why = co_await ask(stream);
      if (why.empty()) {
        tally_.good(target_.kind, due);
        continue;
      }
      tally_.failed(target_.kind, why);
      stream.close();
      co_await until(Clock::now() + kPauseAfterFailure);
    }
  }

 private:
  // Empty: answered.
  asio::awaitable<std::string> ask(beast::tcp_stream& stream) {
    error_code error;
    stream.expires_after(kTimeout);
    if (!stream.socket().is_open()) {
      co_await stream.async_connect(target_.address, into(error));
      if (error) co_return "connect: " + error.message();
      stream.socket().set_option(tcp::no_delay(true), error);
    }
    co_await http::async_write(stream, request_, into(error));
    if (error) co_return "write: " + error.message();
    beast::flat_buffer buffer;
    http::response<http::string_body> answer;
    co_await http::async_read(stream, buffer, answer, into(error));
    if (error) co_return "read: " + error.message();
    if (!answer.keep_alive() || target_.kind == Kind::kFresh) stream.close();
    if (answer.result() != http::status::ok) co_return "status " + std::to_string(answer.result_int());
    co_return "";
  }

  Tally& tally_;
  Target target_;
  std::chrono::nanoseconds interval_;
  http::request<http::empty_body> request_;
};

class TcpEcho {
 public:
  TcpEcho(Tally& tally, const Target& target) : tally_(tally), target_(target) {}

  asio::awaitable<void> run(Clock::time_point first) {
    const auto interval = std::chrono::nanoseconds(static_cast<Nanoseconds>(1e9 / target_.rate));
    co_await until(first);
    for (;;) {
      beast::tcp_stream stream(co_await asio::this_coro::executor);
      error_code error;
      stream.expires_after(kTimeout);
      co_await stream.async_connect(target_.address, into(error));
      if (error) {
        tally_.failed(Kind::kTcp, "connect: " + error.message());
        co_await until(Clock::now() + kPauseAfterFailure);
        continue;
      }
      const auto opened = Clock::now();
      std::string how;
      for (auto due = Clock::now(); how.empty(); due = Clock::now() + interval) {
        co_await until(due);
        how = co_await echo(stream, due);
      }
      // A connection that was let in and never carried a byte is a failure; else it is up to the reader.
      if (Clock::now() - opened < std::chrono::milliseconds(50))
        tally_.failed(Kind::kTcp, "at once: " + how);
      else
        tally_.ended(Kind::kTcp, how, opened);
      co_await until(Clock::now() + kPauseAfterFailure);
    }
  }

 private:
  asio::awaitable<std::string> echo(beast::tcp_stream& stream, Clock::time_point due) {
    const std::string said = "a line that comes back\n";
    std::string heard(said.size(), '\0');
    error_code error;
    stream.expires_after(kTimeout);
    co_await asio::async_write(stream, asio::buffer(said), into(error));
    if (!error) co_await asio::async_read(stream, asio::buffer(heard), into(error));
    if (error) co_return error.message();
    if (heard == said)
      tally_.good(Kind::kTcp, due);
    else
      tally_.failed(Kind::kTcp, "another line came back");
    co_return "";
  }

  Tally& tally_;
  Target target_;
};

template <typename Client, typename... More>
void spawn(asio::io_context& io, Tally& tally, const Target& target, std::chrono::nanoseconds apart, More... more) {
  const auto begin = Clock::now();
  for (unsigned i = 0; i < target.connections; ++i) {
    auto client = std::make_shared<Client>(tally, target, more...);
    asio::co_spawn(
        io, [client, first = begin + apart * i] { return client->run(first); }, [client](std::exception_ptr) {});
  }
}

}  // namespace

void start_http(asio::io_context& io, Tally& tally, const Target& target) {
  const std::chrono::nanoseconds apart(static_cast<Nanoseconds>(1e9 / target.rate));
  spawn<Http>(io, tally, target, apart, std::chrono::nanoseconds(apart * target.connections));
}

void start_tcp(asio::io_context& io, Tally& tally, const Target& target) {
  const double all = target.rate * target.connections;
  spawn<TcpEcho>(io, tally, target, std::chrono::nanoseconds(static_cast<Nanoseconds>(1e9 / all)));
}

}  // namespace hawser::hand_over
