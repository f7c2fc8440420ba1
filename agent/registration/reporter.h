// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/health.h"
#include "base/loop.h"

namespace hawser::registration {

// What: decides what the control plane is told of this workload's health: never healthy before interception is
// verified, unhealthy first when the host withdraws. Told on change and again every `interval`, because a report has no
// answer. A reconnect needs nothing from here: the relay repeats the last report on each new stream. Threading: on the
// loop. Failure: HWS-RG-001 in the health item "registration", which says what was told.
class Reporter {
 public:
  using Send = std::function<void(bool healthy, const std::string& message)>;

  Reporter(Loop& loop, HealthSink& health, Send send, std::chrono::seconds interval = std::chrono::seconds(60));

  // Without a probe the program counts as healthy.
  void set_program(bool healthy, const std::string& reason);
  void set_interception(bool verified);
  // For good: whatever comes later, the plane has been told not to send traffic here.
  void withdraw();

  std::optional<bool> told() const { return told_; }
  Loop::Wall told_at() const { return told_at_; }
  // Called on the first healthy report, and on each that follows an unhealthy one.
  void on_healthy(std::function<void()> callback) { on_healthy_ = std::move(callback); }

 private:
  void consider();
  std::string message() const;
  void tell(bool healthy, const std::string& message);
  void repeat();
  void show(bool healthy, const std::string& message);

  Loop& loop_;
  HealthSink& health_;
  Send send_;
  std::chrono::seconds interval_;
  std::function<void()> on_healthy_;
  bool program_ = false;
  std::string reason_ = "not probed yet";
  bool intercepted_ = false;
  bool withdrawn_ = false;
  std::optional<bool> told_;
  Loop::Wall told_at_;
  std::unique_ptr<Loop::Timer> repeat_;
};

}  // namespace hawser::registration
