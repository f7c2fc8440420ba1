// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <iostream>

#include "load.h"

namespace hawser::hand_over {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

asio::awaitable<void> answer_http(tcp::socket socket) {
  boost::beast::flat_buffer buffer;
  error_code error;
  for (;;) {
    http::request<http::string_body> request;
    co_await http::async_read(socket, buffer, request, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    http::response<http::string_body> answer(http::status::ok, request.version(), "ok\n");
    answer.keep_alive(request.keep_alive());
    answer.prepare_payload();
    co_await http::async_write(socket, answer, asio::redirect_error(asio::use_awaitable, error));
    if (error || !request.keep_alive()) co_return;
  }
}

asio::awaitable<void> answer_tcp(tcp::socket socket) {
  std::array<char, 4096> bytes;
  error_code error;
  for (;;) {
    const auto size =
        co_await socket.async_read_some(asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
    co_await asio::async_write(socket, asio::buffer(bytes, size), asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
  }
}

using Answerer = asio::awaitable<void> (*)(tcp::socket);

asio::awaitable<void> listen(tcp::endpoint at, Answerer answer) {
  tcp::acceptor acceptor(co_await asio::this_coro::executor, at);
  for (;;) {
    error_code error;
    auto socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (error) continue;
    socket.set_option(tcp::no_delay(true), error);
    asio::co_spawn(acceptor.get_executor(), answer(std::move(socket)), asio::detached);
  }
}

class EchoCall final : public grpc::ServerGenericBidiReactor {
 public:
  EchoCall() { StartRead(&message_); }

 private:
  void OnReadDone(bool ok) override { ok ? StartWrite(&message_) : Finish(grpc::Status::OK); }
  void OnWriteDone(bool ok) override { ok ? StartRead(&message_) : Finish(grpc::Status::OK); }
  void OnCancel() override {}
  void OnDone() override { delete this; }

  grpc::ByteBuffer message_;
};

class EchoService final : public grpc::CallbackGenericService {
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override { return new EchoCall; }
};

}  // namespace

int serve(const std::string& address, unsigned short http_port, unsigned short grpc_port, unsigned short tcp_port) {
  EchoService service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address + ":" + std::to_string(grpc_port), grpc::InsecureServerCredentials());
  builder.RegisterCallbackGenericService(&service);
  const auto server = builder.BuildAndStart();
  if (!server) return 1;
  asio::io_context io(1);
  const auto ip = asio::ip::make_address(address);
  // One that can't listen ends the program, with what the system said.
  const auto failed = [](const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
  };
  asio::co_spawn(io, listen({ip, http_port}, answer_http), failed);
  asio::co_spawn(io, listen({ip, tcp_port}, answer_tcp), failed);
  asio::post(io, [] { std::cout << "up" << std::endl; });
  io.run();
  return 0;
}

}  // namespace hawser::hand_over
