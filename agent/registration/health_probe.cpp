// SPDX-License-Identifier: Apache-2.0
#include "registration/health_probe.h"

#include <random>

#include "base/backoff.h"

namespace hawser::registration {

struct HealthProbe::Impl : std::enable_shared_from_this<Impl> {
  Impl(AsioLoop& l, config::HealthProbe s, ProbeSurroundings a, Changed c)
      : loop(l), settings(std::move(s)), around(std::move(a)), changed(std::move(c)), random(random_seed()) {}

  void schedule(std::chrono::milliseconds delay) {
    timer = loop.after(delay, [this] { attempt_once(); });
  }

  // So that the probes of a host, and of many hosts, don't fall into step.
  std::chrono::milliseconds pause() {
    const double share = std::uniform_real_distribution<double>(-settings.jitter, settings.jitter)(random);
    return std::chrono::milliseconds(
        static_cast<std::int64_t>(static_cast<double>(settings.period.count()) * (1 + share)));
  }

  void attempt_once() {
    using Kind = config::HealthProbe::Kind;
    if (settings.through_proxy && !proxy_open) return;  // open_proxy() goes on
    auto done = [weak = weak_from_this()](const Status& status) {
      auto self = weak.lock();
      if (!self) return;
      // not from within the attempt, which is destroyed by the next one
      self->loop.post([weak, status] {
        if (auto later = weak.lock()) later->judge(status);
      });
    };
    if (attempt && !attempt->settled()) return judge(unwell("the last command was killed and hasn't ended yet"));
    attempt.reset();
    ++attempts;
    if (settings.kind == Kind::kHttp || settings.kind == Kind::kTcp)
      attempt = attempt_net(loop, settings, around, done);
    if (settings.kind == Kind::kExec) attempt = attempt_exec(loop, settings, done);
    if (settings.kind == Kind::kGrpc) attempt = attempt_grpc(loop, settings, around, done);
  }

  void judge(const Status& status) {
    if (stopped) return;
    // what the proxy answered while its traffic was being cut off says nothing of the program
    if (settings.through_proxy && !proxy_open) return;
    const bool well = status.has_value();
    in_a_row = last == well ? in_a_row + 1 : 1;
    last = well;
    reason = well ? "" : status.error().message();
    if (in_a_row >= (well ? settings.success_threshold : settings.failure_threshold) && state != well) {
      state = well;
      changed(well, reason);
    }
    if (!stopped) schedule(pause());  // the callback may have stopped us
  }

  void open_proxy(bool open) {
    if (std::exchange(proxy_open, open) == open || !open || !settings.through_proxy || !started || stopped) return;
    attempt.reset();
    attempt_once();
  }

  AsioLoop& loop;
  config::HealthProbe settings;
  ProbeSurroundings around;
  Changed changed;
  std::mt19937_64 random;
  std::optional<bool> state;
  std::optional<bool> last;
  std::string reason;
  unsigned in_a_row = 0;
  std::uint64_t attempts = 0;
  bool started = false;
  bool stopped = false;
  bool proxy_open = false;
  std::shared_ptr<ProbeAttempt> attempt;
  std::unique_ptr<Loop::Timer> timer;
};

HealthProbe::HealthProbe(AsioLoop& loop, config::HealthProbe settings, ProbeSurroundings around, Changed changed)
    : impl_(std::make_shared<Impl>(loop, std::move(settings), std::move(around), std::move(changed))) {}
HealthProbe::~HealthProbe() {
  stop();
}

void HealthProbe::start() {
  impl_->started = true;
  if (impl_->settings.kind == config::HealthProbe::Kind::kNone) {
    impl_->state = true;
    return impl_->changed(true, "");
  }
  impl_->schedule(impl_->settings.initial_delay);
}

void HealthProbe::stop() {
  impl_->stopped = true;
  impl_->timer.reset();
  impl_->attempt.reset();
}

void HealthProbe::open_proxy(bool open) {
  impl_->open_proxy(open);
}
const config::HealthProbe& HealthProbe::settings() const {
  return impl_->settings;
}
std::optional<bool> HealthProbe::state() const {
  return impl_->state;
}
const std::string& HealthProbe::last_reason() const {
  return impl_->reason;
}
std::uint64_t HealthProbe::attempts() const {
  return impl_->attempts;
}

}  // namespace hawser::registration
