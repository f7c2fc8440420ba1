// SPDX-License-Identifier: Apache-2.0
#include "status/endpoints.h"

#include <memory>
#include <vector>

#include "base/log.h"
#include "status/metrics_merge.h"

namespace hawser::status {
namespace {

constexpr auto kExposition = "text/plain; version=0.0.4; charset=utf-8";

class Scraper : public std::enable_shared_from_this<Scraper> {
 public:
  Scraper(Metrics& metrics, EndpointSources sources) : metrics_(metrics), sources_(std::move(sources)) {}

  void scrape(HttpServer::Respond respond) {
    metrics_.add("hawser_scrapes_total", "Scrapes of the merged metrics");
    // Bounded by the server's connections.
    waiting_.push_back(std::move(respond));
    if (waiting_.size() > 1) return;
    if (!sources_.proxy_stats) return finish({});
    const unsigned turn = ++turn_;
    // A source that goes away drops its callback uncalled; the guard's end answers then.
    std::shared_ptr<void> guard(nullptr, [weak = weak_from_this(), turn](void*) {
      if (auto self = weak.lock())
        self->take(turn, Error(Code::kUnavailable, "HWS-ST-003", "the proxy went away during the scrape"));
    });
    sources_.proxy_stats([weak = weak_from_this(), turn, guard](Result<std::string> proxy) {
      if (auto self = weak.lock()) self->take(turn, std::move(proxy));
    });
  }

 private:
  void take(unsigned turn, Result<std::string> proxy) {
    if (turn != turn_) return;  // answered already
    ++turn_;
    if (!proxy) failed(proxy.error());
    finish(proxy ? *proxy : std::string());
  }

  void failed(const Error& error) {
    metrics_.add("hawser_scrape_failures_total", "Parts left out of a scrape", {{"type", "envoy"}});
    log::debug("the proxy's metrics are left out", {{"error", error.to_string()}});
  }

  void finish(const std::string& proxy) {
    const std::string own = metrics_.text();
    HttpResponse response;
    response.content_type = kExposition;
    response.body = std::make_shared<const std::string>(merge_metrics({own, proxy}));
    auto waiting = std::move(waiting_);
    waiting_.clear();
    for (auto& respond : waiting) respond(response);
  }

  Metrics& metrics_;
  EndpointSources sources_;
  std::vector<HttpServer::Respond> waiting_;
  unsigned turn_ = 0;
};

}  // namespace

void add_endpoints(HttpServer& server, Metrics& metrics, EndpointSources sources) {
  const auto not_ready = sources.not_ready;
  server.route("/healthz/ready", [not_ready](const HttpRequest&, const HttpServer::Respond& respond) {
    const std::string reason = not_ready ? not_ready() : std::string();
    respond(reason.empty() ? text_response(200, "ready\n") : text_response(503, reason + "\n"));
  });
  server.route("/healthz/live",
               [](const HttpRequest&, const HttpServer::Respond& respond) { respond(text_response(200, "live\n")); });
  auto scraper = std::make_shared<Scraper>(metrics, std::move(sources));
  const auto scrape = [scraper](const HttpRequest&, HttpServer::Respond respond) {
    scraper->scrape(std::move(respond));
  };
  server.route("/stats/prometheus", scrape);
  server.route("/metrics", scrape);
}

}  // namespace hawser::status
