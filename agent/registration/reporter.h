// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"

namespace hawser::registration {

// What: decides what the control plane is told of this workload's health: never healthy before interception is
// verified, nothing before the program's state is known (hawserd may have been restarted, and the plane still knows),
// unhealthy first when the host withdraws. Told on change and again every `interval`, because a report has no answer. A
// reconnect needs nothing from here: the relay repeats the last report on each new stream. Threading: on the loop.
// Failure: HWS-RG-001 in the health item "registration", which says what was told. Metrics:
// hawser_health_reports_total{health}.
class Reporter {
 public:
  using Send = std::function<void(bool healthy, const std::string& message)>;

  Reporter(Loop& loop, Metrics& metrics, HealthSink& health, Send send,
           std::chrono::seconds interval = std::chrono::seconds(60));

  void set_program(bool healthy, const std::string& reason);
  // `reason`: why not.
  void set_interception(bool verified, const std::string& reason = "traffic isn't intercepted");
  // While there's a reason, the plane is told "unhealthy", whatever else is known; told at once, also by a process that
  // has told nothing yet. Empty: taken back.
  void set_drain(const std::string& reason);
  // For good: whatever comes later, the plane has been told not to send traffic here.
  void withdraw();

  std::optional<bool> told() const { return told_; }
  Loop::Wall told_at() const { return told_at_; }
  const std::string& told_reason() const { return told_reason_; }
  std::uint64_t reports() const { return reports_; }
  bool withdrawn() const { return withdrawn_; }
  // Called on the first report, and on each that differs from the one before; not when the host withdraws.
  void on_told(std::function<void(bool healthy)> callback) { on_told_ = std::move(callback); }

 private:
  void consider();
  std::string message() const;
  void tell(bool healthy, const std::string& message);
  void send(bool healthy, const std::string& message);
  void repeat();
  void show(bool healthy, const std::string& message);

  Loop& loop_;
  Metrics& metrics_;
  HealthSink& health_;
  Send send_;
  std::chrono::seconds interval_;
  std::function<void(bool)> on_told_;
  std::optional<bool> program_;
  std::string reason_;
  bool intercepted_ = false;
  std::string not_intercepted_ = "traffic isn't intercepted";
  std::string drained_;  // why
  bool withdrawn_ = false;
  std::optional<bool> told_;
  Loop::Wall told_at_;
  std::string told_reason_;
  std::uint64_t reports_ = 0;
  std::unique_ptr<Loop::Timer> repeat_;
};

}  // namespace hawser::registration
