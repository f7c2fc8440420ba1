// SPDX-License-Identifier: Apache-2.0
#include "registration/reporter.h"

namespace hawser::registration {

Reporter::Reporter(Loop& loop, HealthSink& health, Send send, std::chrono::seconds interval)
    : loop_(loop), health_(health), send_(std::move(send)), interval_(interval) {}

void Reporter::set_program(bool healthy, const std::string& reason) {
  program_ = healthy;
  reason_ = reason;
  consider();
}

void Reporter::set_interception(bool verified) {
  intercepted_ = verified;
  consider();
}

void Reporter::withdraw() {
  if (withdrawn_) return;
  withdrawn_ = true;
  repeat_.reset();
  if (!told_) return;  // the plane never sent traffic here
  told_ = false;
  told_at_ = loop_.wall();
  send_(false, "withdrawn");
  health_.report("registration", HealthState::kOk, "withdrawn: the control plane was told to send no more traffic",
                 nullptr);
}

std::string Reporter::message() const {
  if (!intercepted_) return "traffic isn't intercepted";
  return program_ ? std::string() : reason_;
}

void Reporter::consider() {
  if (withdrawn_) return;
  // Before the first time that all was well, silence is as good as "unhealthy": the plane sends no traffic either way.
  if (!intercepted_ && !told_) return;
  const bool healthy = program_ && intercepted_;
  if (told_ != healthy) tell(healthy, message());
}

void Reporter::tell(bool healthy, const std::string& message) {
  const bool news = told_ != healthy;
  told_ = healthy;
  told_at_ = loop_.wall();
  send_(healthy, message);
  show(healthy, message);
  repeat_ = loop_.after(interval_, [this] { repeat(); });
  if (healthy && news && on_healthy_) on_healthy_();
}

// With the reason as it is now: it may have changed while the answer hasn't.
void Reporter::repeat() {
  tell(program_ && intercepted_, message());
}

void Reporter::show(bool healthy, const std::string& message) {
  if (healthy) return health_.report("registration", HealthState::kOk, "told the control plane: healthy", nullptr);
  const Error error(Code::kUnavailable, "HWS-RG-001", "told the control plane: unhealthy (" + message + ")",
                    "see the health: section of the configuration, and the program");
  health_.report("registration", HealthState::kDegraded, error.message(), &error);
}

}  // namespace hawser::registration
