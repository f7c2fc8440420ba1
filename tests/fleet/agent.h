// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "census.h"
#include "xds/options.h"
#include "xds/relay.h"

namespace hawser::fleet {

// What: one host of the fleet as the plane sees it: the product's own relay with a connection, an address and a node of
// its own, which registers itself and reports that it is healthy. It has no proxy, so it subscribes to what the relay
// itself wants: clusters and listeners. Threading: the loop; the relay has a thread of its own. Failure: counted.
class Agent final : public HealthSink {
 public:
  struct Identity {
    xds::Credentials certificate;
    std::string token;
  };

  Agent(Loop& loop, Metrics& metrics, Census& census, std::size_t number);

  void start(std::string node, const xds::UpstreamOptions& upstream, const Identity& identity);
  void stop(std::function<void()> done);

 private:
  void report(const std::string& item, HealthState state, const std::string& detail, const Error* error) override;

  Census& census_;
  std::size_t number_;
  std::unique_ptr<xds::Relay> relay_;
};

}  // namespace hawser::fleet
