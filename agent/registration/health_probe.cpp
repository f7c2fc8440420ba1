// SPDX-License-Identifier: Apache-2.0
#include "registration/health_probe.h"

#include <optional>

#include "registration/probe_attempt.h"

namespace hawser::registration {

struct HealthProbe::Impl : std::enable_shared_from_this<Impl> {
  Impl(AsioLoop& l, config::HealthProbe s, Changed c) : loop(l), settings(std::move(s)), changed(std::move(c)) {}

  void schedule(std::chrono::milliseconds delay) {
    timer = loop.after(delay, [this] { attempt_once(); });
  }

  void attempt_once() {
    using Kind = config::HealthProbe::Kind;
    auto done = [weak = weak_from_this()](const Status& status) {
      auto self = weak.lock();
      if (!self) return;
      // not from within the attempt, which is destroyed by the next one
      self->loop.post([weak, status] {
        if (auto later = weak.lock()) later->judge(status);
      });
    };
    if (attempt && !attempt->settled())
      return judge(Error(Code::kUnavailable, "HWS-RG-002", "the last command was killed and hasn't ended yet"));
    attempt.reset();
    if (settings.kind == Kind::kHttp) attempt = attempt_http(loop, settings, done);
    if (settings.kind == Kind::kTcp) attempt = attempt_tcp(loop, settings, done);
    if (settings.kind == Kind::kExec) attempt = attempt_exec(loop, settings, done);
  }

  void judge(const Status& status) {
    if (stopped) return;
    const bool well = status.has_value();
    in_a_row = last == well ? in_a_row + 1 : 1;
    last = well;
    if (in_a_row >= (well ? settings.success_threshold : settings.failure_threshold) && state != well) {
      state = well;
      changed(well, well ? "" : status.error().message());
    }
    if (!stopped) schedule(settings.period);  // the callback may have stopped us
  }

  AsioLoop& loop;
  config::HealthProbe settings;
  Changed changed;
  std::optional<bool> state;
  std::optional<bool> last;
  unsigned in_a_row = 0;
  bool stopped = false;
  std::shared_ptr<ProbeAttempt> attempt;
  std::unique_ptr<Loop::Timer> timer;
};

HealthProbe::HealthProbe(AsioLoop& loop, config::HealthProbe settings, Changed changed)
    : impl_(std::make_shared<Impl>(loop, std::move(settings), std::move(changed))) {}
HealthProbe::~HealthProbe() {
  stop();
}

void HealthProbe::start() {
  if (impl_->settings.kind == config::HealthProbe::Kind::kNone) return impl_->changed(true, "");
  impl_->schedule(impl_->settings.initial_delay);
}

void HealthProbe::stop() {
  impl_->stopped = true;
  impl_->timer.reset();
  impl_->attempt.reset();
}

}  // namespace hawser::registration
