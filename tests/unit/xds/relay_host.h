// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/health.h"
#include "xds/relay.h"

namespace hawser::xds::test {

// A relay with everything around it: a loop on a thread, a local gRPC server on a Unix socket, a record of health.
class RelayHost {
 public:
  explicit RelayHost(Relay::Options options = {});
  // Stops in order, if stop() wasn't called.
  ~RelayHost();

  void start(const UpstreamOptions& upstream, Credentials credentials = {},
             Result<std::string> token = std::string("token-1"));
  void stop();
  std::string target() const;
  // Where programs that aren't the proxy connect.
  std::string program_target() const;

  Relay& relay();
  // Runs on the loop, and waits for it.
  void call(const std::function<void()>& work);
  Relay::Status status();
  std::vector<std::string> names(std::string_view type);
  std::string metrics() const;
  bool wait(const std::function<bool(const Relay::Status&)>& condition,
            std::chrono::milliseconds within = std::chrono::seconds(10));
  // The id of the item's error; "ok" or "starting" without one; empty when time is up before `expected` appears.
  std::string wait_health(const std::string& item, const std::string& expected,
                          std::chrono::milliseconds within = std::chrono::seconds(10));

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline constexpr char kPlaneName[] = "istiod.istio-system.svc";

// The way to a plane of this machine with a certificate for kPlaneName. Tries again fast.
UpstreamOptions upstream_to(int port, const std::string& roots_pem);

// A node as our bootstrap makes it.
std::string test_node(const std::string& ns = "default");

}  // namespace hawser::xds::test
