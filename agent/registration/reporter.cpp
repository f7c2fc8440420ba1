// SPDX-License-Identifier: Apache-2.0
#include "registration/reporter.h"

namespace hawser::registration {

Reporter::Reporter(Loop& loop, Metrics& metrics, HealthSink& health, Send send, std::chrono::seconds interval)
    : loop_(loop), metrics_(metrics), health_(health), send_(std::move(send)), interval_(interval) {}

void Reporter::set_program(bool healthy, const std::string& reason) {
  program_ = healthy;
  reason_ = reason;
  consider();
}

void Reporter::set_interception(bool verified, const std::string& reason) {
  intercepted_ = verified;
  not_intercepted_ = reason;
  consider();
}

void Reporter::set_drain(const std::string& reason) {
  drained_ = reason;
  consider();
}

void Reporter::withdraw() {
  if (withdrawn_) return;
  withdrawn_ = true;
  repeat_.reset();
  if (!told_) return;  // the plane never sent traffic here
  send(false, "withdrawn");
  health_.report("registration", HealthState::kOk, "withdrawn: the control plane was told to send no more traffic",
                 nullptr);
}

std::string Reporter::message() const {
  if (!drained_.empty()) return drained_;
  if (!intercepted_) return not_intercepted_;
  return program_ == true ? std::string() : reason_;
}

void Reporter::consider() {
  if (withdrawn_) return;
  // Also where nothing was told yet: an earlier hawserd may have told that all was well.
  if (!drained_.empty()) {
    if (told_ != false || told_reason_ != drained_) tell(false, drained_);
    return;
  }
  // Before the first time that all was well, silence is as good as "unhealthy": the plane sends no traffic either way.
  if (!intercepted_ && !told_) return;
  if (!program_) {
    health_.report("registration", HealthState::kStarting, "waiting for the probes' first verdict", nullptr);
    return;
  }
  const bool healthy = *program_ && intercepted_;
  if (told_ != healthy) tell(healthy, message());
}

void Reporter::tell(bool healthy, const std::string& message) {
  const bool news = told_ != healthy;
  send(healthy, message);
  show(healthy, message);
  repeat_ = loop_.after(interval_, [this] { repeat(); });
  if (news && on_told_) on_told_(healthy);
}

void Reporter::send(bool healthy, const std::string& message) {
  told_ = healthy;
  told_at_ = loop_.wall();
  told_reason_ = message;
  ++reports_;
  metrics_.add("hawser_health_reports_total", "Health reports to the control plane",
               {{"health", healthy ? "healthy" : "unhealthy"}});
  send_(healthy, message);
}

// With the reason as it is now: it may have changed while the answer hasn't.
void Reporter::repeat() {
  tell(program_ == true && intercepted_ && drained_.empty(), message());
}

void Reporter::show(bool healthy, const std::string& message) {
  if (healthy) return health_.report("registration", HealthState::kOk, "told the control plane: healthy", nullptr);
  if (!drained_.empty())  // as wanted; the item "drain" says so
    return health_.report("registration", HealthState::kOk, "told the control plane: unhealthy (" + message + ")",
                          nullptr);
  const Error error(Code::kUnavailable, "HWS-RG-001", "told the control plane: unhealthy (" + message + ")",
                    "see the health: section of the configuration, and the program");
  health_.report("registration", HealthState::kDegraded, error.message(), &error);
}

}  // namespace hawser::registration
