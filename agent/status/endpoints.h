// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "base/metrics.h"
#include "base/result.h"
#include "status/http_server.h"

namespace hawser::status {

// Where the endpoints get what they serve.
struct EndpointSources {
  // Empty: ready; else why not, as one line.
  std::function<std::string()> not_ready;
  // The serving generation's exposition. The callback runs on the loop, once.
  std::function<void(std::function<void(Result<std::string>)>)> proxy_stats;
};

// What: the routes of port 15020: /healthz/ready, /healthz/live, /stats/prometheus and /metrics. A scrape holds our own
// metrics and the proxy's; a part that fails is left out and counted, the answer stays 200. Scrapes at the same time
// share one request to the proxy. Everything else is 404.
// Threading: on the loop. `server` and `metrics` outlive the server's last connection.
// Metrics: hawser_scrapes_total, hawser_scrape_failures_total{type}.
void add_endpoints(HttpServer& server, Metrics& metrics, EndpointSources sources);

}  // namespace hawser::status
