// SPDX-License-Identifier: Apache-2.0
#include "status/endpoints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>
#include <vector>

#include "http_client.h"

namespace hawser::status {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using testing_client::get;

struct EndpointsTest : testing::Test {
  using ProxyDone = std::function<void(Result<std::string>)>;

  void start(std::function<void(ProxyDone)> proxy_stats) {
    HttpServer::Options options;
    options.address4 = "127.0.0.1";
    options.address6 = "";
    options.port = 0;
    server = std::make_unique<HttpServer>(loop, options);
    metrics.add("hawser_things_total", "Things");
    add_endpoints(*server, metrics, {[this] { return reason; }, std::move(proxy_stats)});
    ASSERT_TRUE(server->start().has_value());
    port = server->port();
    thread = std::thread([this] { loop.run(); });
  }
  void on_loop(const std::function<void()>& work) {
    std::promise<void> ran;
    loop.post([&] {
      work();
      ran.set_value();
    });
    ran.get_future().wait();
  }
  void TearDown() override {
    on_loop([this] { server.reset(); });
    loop.stop();
    thread.join();
  }

  AsioLoop loop;
  Metrics metrics;
  std::string reason;
  std::unique_ptr<HttpServer> server;
  std::uint16_t port = 0;
  std::thread thread;
};

TEST_F(EndpointsTest, ReadinessGivesItsReason) {
  start({});
  EXPECT_THAT(get(port, "/healthz/ready"), StartsWith("HTTP/1.1 200"));
  on_loop([this] { reason = "proxy: not LIVE"; });
  const auto answer = get(port, "/healthz/ready");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(answer, HasSubstr("proxy: not LIVE\n"));
  EXPECT_THAT(get(port, "/healthz/live"), StartsWith("HTTP/1.1 200"));
}

TEST_F(EndpointsTest, AScrapeHoldsOurMetricsAndTheProxys) {
  start([](const ProxyDone& done) { done(std::string("# TYPE envoy_server_live gauge\nenvoy_server_live 1\n")); });
  for (const std::string path : {"/stats/prometheus", "/metrics"}) {
    const auto answer = get(port, path);
    EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    EXPECT_THAT(answer, HasSubstr("\nhawser_things_total 1\n"));
    EXPECT_THAT(answer, HasSubstr("\nenvoy_server_live 1\n"));
  }
}

TEST_F(EndpointsTest, APartThatFailsIsLeftOutAndCounted) {
  start([](const ProxyDone& done) { done(Error(Code::kUnavailable, "HWS-PX-001", "no proxy")); });
  const auto answer = get(port, "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("hawser_scrape_failures_total{type=\"envoy\"} 1\n"));
  EXPECT_THAT(answer, Not(HasSubstr("envoy_server")));
}

TEST_F(EndpointsTest, AProxyThatGoesAwayDuringAScrapeCountsAsFailed) {
  start([](const ProxyDone&) {});
  EXPECT_THAT(get(port, "/metrics"), HasSubstr("hawser_scrape_failures_total{type=\"envoy\"} 1\n"));
  EXPECT_THAT(get(port, "/metrics"), HasSubstr("hawser_scrape_failures_total{type=\"envoy\"} 2\n"));
}

TEST_F(EndpointsTest, ScrapesAtTheSameTimeShareOneRequestToTheProxy) {
  std::vector<ProxyDone> pending;
  start([&pending](ProxyDone done) { pending.push_back(std::move(done)); });
  auto first = std::async(std::launch::async, [this] { return get(port, "/metrics"); });
  auto second = std::async(std::launch::async, [this] { return get(port, "/metrics"); });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  bool both = false;
  while (!both && std::chrono::steady_clock::now() < deadline)
    on_loop([&] { both = metrics.text().find("hawser_scrapes_total 2") != std::string::npos; });
  ASSERT_TRUE(both);
  on_loop([&] {
    ASSERT_EQ(pending.size(), 1U);
    pending.front()(std::string("envoy_x 1\n"));
  });
  EXPECT_THAT(first.get(), HasSubstr("envoy_x 1\n"));
  EXPECT_THAT(second.get(), HasSubstr("envoy_x 1\n"));
}

}  // namespace
}  // namespace hawser::status
