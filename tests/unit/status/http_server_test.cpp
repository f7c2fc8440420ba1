// SPDX-License-Identifier: Apache-2.0
#include "status/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "http_client.h"

namespace hawser::status {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using testing_client::ask;
using testing_client::dial;
using testing_client::get;
using testing_client::receive;
using testing_client::send_all;

bool host_has_v6() {
  HttpServer::Options options;
  options.address4 = "";
  options.address6 = "::1";
  options.port = 0;
  AsioLoop loop;
  HttpServer server(loop, options);
  return server.start().has_value() && server.port() != 0;
}

struct HttpServerTest : testing::Test {
  void start(HttpServer::Options options = {}) {
    options.address4 = "127.0.0.1";
    options.address6 = host_has_v6() ? "::1" : "";
    options.port = 0;
    server = std::make_unique<HttpServer>(loop, options);
    server->route("/hello", [](const HttpRequest& request, const HttpServer::Respond& respond) {
      respond(text_response(200, "hello " + request.query + "\n"));
    });
    server->route("/never", [](const HttpRequest&, const HttpServer::Respond&) {});
    ASSERT_TRUE(server->start().has_value());
    port = server->port();
    thread = std::thread([this] { loop.run(); });
  }
  void TearDown() override {
    if (!thread.joinable()) return;
    std::promise<void> stopped;
    loop.post([&] {
      server.reset();
      stopped.set_value();
    });
    stopped.get_future().wait();
    loop.stop();
    thread.join();
  }
  unsigned connections() {
    std::promise<unsigned> answer;
    loop.post([&] { answer.set_value(server->connections()); });
    return answer.get_future().get();
  }

  AsioLoop loop;
  std::unique_ptr<HttpServer> server;
  std::uint16_t port = 0;
  std::thread thread;
};

TEST_F(HttpServerTest, AnswersAGetWithItsQuery) {
  start();
  const auto answer = get(port, "/hello?a=b");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 10\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\nhello a=b\n"));
}

TEST_F(HttpServerTest, ServesBothFamiliesOnOnePort) {
  if (!host_has_v6()) GTEST_SKIP() << "no IPv6 here";
  start();
  EXPECT_THAT(ask(port, "GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n", true), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, KeepsAConnectionForTheNextRequest) {
  start();
  auto fd = dial(port);
  for (int i = 0; i < 3; ++i) {
    send_all(fd.get(), "GET /hello HTTP/1.1\r\n\r\n");
    EXPECT_THAT(receive(fd.get(), "hello \n"), StartsWith("HTTP/1.1 200"));
  }
}

TEST_F(HttpServerTest, AHeadHasALengthAndNoBody) {
  start();
  const auto answer = ask(port, "HEAD /hello HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 7\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n"));
}

TEST_F(HttpServerTest, RefusesOtherPathsAndMethods) {
  start();
  EXPECT_THAT(get(port, "/"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ask(port, "POST /quitquitquit HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 404"));
  const auto answer = ask(port, "POST /hello HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD\r\n"));
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrNoHttp) {
  start();
  EXPECT_THAT(ask(port, "GET /hello HTTP/1.1\r\nX: " + std::string(32 * 1024, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(ask(port, "POST /hello HTTP/1.1\r\nContent-Length: 999999\r\n\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask(port, "\x16\x03\x01\x02\x00\x01\r\n\r\n"), StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpServerTest, ASilentClientIsClosedInTime) {
  HttpServer::Options options;
  options.io_timeout = std::chrono::milliseconds(100);
  start(options);
  auto fd = dial(port);
  send_all(fd.get(), "GET /hel");
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(receive(fd.get()), "");
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(3));
}

TEST_F(HttpServerTest, AHandlerThatNeverAnswersIsAnsweredFor) {
  HttpServer::Options options;
  options.handler_timeout = std::chrono::milliseconds(50);
  start(options);
  EXPECT_THAT(get(port, "/never"), StartsWith("HTTP/1.1 503"));
}

TEST_F(HttpServerTest, ConnectionsOverTheLimitAreClosedAndCountedNoMore) {
  HttpServer::Options options;
  options.max_connections = 2;
  start(options);
  auto first = dial(port);
  send_all(first.get(), "GET /hello HTTP/1.1\r\n\r\n");
  receive(first.get(), "hello \n");
  auto second = dial(port);
  send_all(second.get(), "GET /hello HTTP/1.1\r\n\r\n");
  receive(second.get(), "hello \n");
  EXPECT_EQ(get(port, "/hello"), "");
  EXPECT_EQ(connections(), 2U);
  second.reset();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (connections() == 2U && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_THAT(get(port, "/hello"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, APortThatIsTakenIsNamedWithTheWayToFindItsOwner) {
  start();
  AsioLoop other_loop;
  HttpServer::Options options;
  options.address4 = "127.0.0.1";
  options.address6 = "";
  options.port = port;
  HttpServer other(other_loop, options);
  const auto started = other.start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().id(), "HWS-ST-001");
  EXPECT_THAT(started.error().message(), HasSubstr(std::to_string(port)));
  EXPECT_THAT(started.error().hint(), HasSubstr("ss -Hltnp 'sport = :" + std::to_string(port) + "'"));
}

TEST_F(HttpServerTest, StoppingClosesWhatIsOpen) {
  start();
  auto fd = dial(port);
  send_all(fd.get(), "GET /never HTTP/1.1\r\n\r\n");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (connections() == 0U && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  TearDown();
  EXPECT_EQ(receive(fd.get()), "");
  EXPECT_FALSE(dial(port));
}

}  // namespace
}  // namespace hawser::status
