// SPDX-License-Identifier: Apache-2.0
// A proxy that runs and does nothing. Its admin interface alone doesn't tell: that is its main thread's, and users are
// served by its workers. So a connection like a user's is tried too, and only if neither answers for long it's ended.
#include <algorithm>
#include <csignal>

#include "proxy/supervision.h"

namespace hawser::proxy {
namespace {

// More than one, because after a pause of the whole host one look may have been late by itself.
constexpr unsigned kDataLooks = 2;
constexpr auto kOverdue = std::chrono::seconds(10);

}  // namespace

void Supervision::alive(Monotonic now) {
  sign_of_life_ = now;
  data_failures_ = 0;
}

// Its admin interface gave no answer.
void Supervision::suspect(Monotonic now) {
  if (options_.wedge_after.count() <= 0) return;
  if (wedged(now)) return end_wedged(now);
  if (data_asked_) return;
  data_asked_ = true;
  act(action::ProbeData{});
}

void Supervision::on(const event::DataProbed& probed, Monotonic now) {
  if (phase_ != Phase::kLive) return;
  data_asked_ = false;
  if (probed.result) return alive(now);
  const auto code = probed.result.error().code();
  if (code != Code::kDeadlineExceeded && code != Code::kUnavailable) return alive(now);  // it can't be told
  ++data_failures_;
  if (wedged(now)) end_wedged(now);
}

bool Supervision::wedged(Monotonic now) const {
  return options_.wedge_after.count() > 0 && data_failures_ >= kDataLooks &&
         now - sign_of_life_ >= options_.wedge_after;
}

void Supervision::end_wedged(Monotonic now) {
  if (leftover_) return observe();  // a successor that couldn't be ended may serve
  const auto silent = std::chrono::duration_cast<std::chrono::seconds>(now - sign_of_life_).count();
  end_hung(facts_.generation + " (pid " + std::to_string(facts_.pid) +
               ") is wedged: neither its admin interface nor its data path has answered for " + std::to_string(silent) +
               " s",
           now);
}

// A child asks its parent for statistics and waits for the answer without a limit: if the parent hangs, its own main
// thread does too, gets no configuration and would never end the parent. Its workers serve what they have.
bool Supervision::hangs_with_predecessor(const std::vector<HostedGeneration>& all, Monotonic now) const {
  if (options_.wedge_after.count() <= 0 || failures_ < kPatience ||
      now - live_since_ < options_.parent_shutdown + kOverdue)
    return false;
  return std::any_of(all.begin(), all.end(), [this](const HostedGeneration& item) {
    return item.running && retired_.count(item.name) > 0 && !independent(item.name);
  });
}

void Supervision::end_hung(const std::string& detail, Monotonic now) {
  const Error error(Code::kDeadlineExceeded, "HWS-PX-040", detail,
                    "it is killed and started anew by itself; its log, and what the host did then, tell the cause");
  report(HealthState::kFailed, detail, error);
  announce_down(detail, now);
  hung_ = true;
  end(SIGKILL);
}

}  // namespace hawser::proxy
