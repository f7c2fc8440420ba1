// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/asio_loop.h"
#include "base/result.h"

namespace hawser::status {

struct HttpRequest {
  std::string path;
  std::string query;  // without the question mark
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  // Shared, so that a large exposition isn't copied for every scraper.
  std::shared_ptr<const std::string> body;
};

HttpResponse text_response(int status, std::string body);

// What: the small HTTP/1.1 server on port 15020, for probes and scrapers on this host and off it; everything it reads
// is bounded. It listens on both families, or on IPv4 alone where the kernel has no IPv6. GET and HEAD only. Threading:
// on the loop. A handler answers once, now or later, on the loop; one that doesn't within `handler_timeout` is answered
// for with 503. Failure: HWS-ST-001 (the port is taken), HWS-ST-002 (can't listen). Connections over the limit are
// closed at once.
class HttpServer {
 public:
  struct Options {
    std::string address4 = "0.0.0.0";  // empty: not this family
    std::string address6 = "::";
    std::uint16_t port = 15020;  // 0: the kernel picks one, the same for both families
    unsigned max_connections = 64;
    std::chrono::milliseconds io_timeout{10000};  // for one request to come in, one answer to go out, and for idling
    std::chrono::milliseconds handler_timeout{10000};
  };
  using Respond = std::function<void(HttpResponse)>;
  using Handler = std::function<void(const HttpRequest&, Respond)>;

  HttpServer(AsioLoop& loop, Options options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Before start(). `path` is matched whole.
  void route(const std::string& path, Handler handler);
  Status start();
  // Stops listening and closes every connection.
  void stop();
  std::uint16_t port() const;
  unsigned connections() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::status
