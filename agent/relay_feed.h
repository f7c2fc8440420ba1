// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "proxy/config_feed.h"
#include "xds/relay.h"

namespace hawser {

// What: the relay, and the certificate beside it, as a hand-over sees them. Threading: on the loop; not called back
// once it's gone. Failure: HWS-XDS-032 (it can't be held back).
class RelayFeed final : public proxy::ConfigFeed {
 public:
  // `has_certificate`: is there one that a new proxy is given?
  RelayFeed(xds::Relay& relay, std::function<bool()> has_certificate)
      : relay_(relay), has_certificate_(std::move(has_certificate)) {}

  void snapshot(std::function<void(Result<Snapshot>)> done) override;
  void hold_listeners(const std::string& generation, std::chrono::milliseconds limit,
                      std::function<void(Status)> done) override;
  void release_listeners(const std::string& generation) override;

 private:
  xds::Relay& relay_;
  std::function<bool()> has_certificate_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// In words: "listeners; 3 routes (8080, 9090, …)".
std::string missing_text(const xds::Outlook& outlook);
std::string rejected_text(const xds::Outlook& outlook);

}  // namespace hawser
