// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "xds/wire.h"

namespace hawser::xds::test {

// A proxy, or another client, by hand: one stream. It reads only when a test asks for a message. Threading: one thread
// at a time.
class AdsClient {
 public:
  AdsClient(
      const std::string& target, const std::string& generation,
      const std::string& method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources");
  // Cancels.
  ~AdsClient();

  void send(const Request& request);
  // As it is. False when gRPC hasn't taken it in time: the relay doesn't read.
  bool send_bytes(const std::string& bytes, std::chrono::milliseconds within = std::chrono::seconds(10));
  // The next message as it came; nullopt when time is up or the stream has ended.
  std::optional<std::string> receive(std::chrono::milliseconds within = std::chrono::seconds(10));
  // The status that the stream ends with; -1 when it doesn't.
  int wait_end(std::chrono::milliseconds within = std::chrono::seconds(10));
  void half_close();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::xds::test
