// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/guardian.h"

#include "base/log.h"

namespace hawser::broker {

const char* to_string(Guardian::State state) {
  switch (state) {
    case Guardian::State::kIdle:
      return "idle";
    case Guardian::State::kWatching:
      return "watching";
    case Guardian::State::kStarting:
      return "starting";
    case Guardian::State::kBinding:
      return "binding";
    case Guardian::State::kPolicy:
      return "policy";
  }
  return "unknown";
}

Guardian::Guardian(Loop& loop, Options options, Actions actions)
    : loop_(loop), options_(options), actions_(std::move(actions)) {}
Guardian::~Guardian() = default;

void Guardian::start(bool policy_in_force) {
  last_alive_ = loop_.now();
  if (policy_in_force) state_ = State::kPolicy;
  tick();
}

void Guardian::renew() {
  renewed_ = true;
  released_ = false;
  last_renewed_ = last_alive_ = loop_.now();
  // What it left behind is hawserd's to judge: it looks at the rules, and applies them when its proxy is LIVE.
  if (state_ != State::kIdle && state_ != State::kWatching) enter(State::kWatching, "hawserd is back");
}

void Guardian::release() {
  renewed_ = false;
  released_ = true;
}

bool Guardian::lease_alive() const {
  return renewed_ && loop_.now() - last_renewed_ <= options_.wait;
}

Guardian::View Guardian::view() const {
  return {state_, detail_, lease_alive(), cold_starts_, policies_};
}

void Guardian::tick() {
  timer_ = loop_.after(options_.poll, [this] { tick(); });
  if (!actions_.guarded()) {
    last_alive_ = loop_.now();
    if (state_ != State::kIdle) enter(State::kIdle, "nothing is captured");
    return;
  }
  switch (state_) {
    case State::kIdle:
      return enter(State::kWatching, "");
    case State::kWatching:
      return watch();
    case State::kStarting:
      if (loop_.now() >= deadline_) apply_policy("the last good proxy takes too long to start");
      return;
    case State::kBinding:
      return await_binding();
    case State::kPolicy:
      return look_for_return();
  }
}

void Guardian::watch() {
  if (actions_.proxy_running()) last_alive_ = loop_.now();
  // Of hawserd its renewals are known, and not whether it has lived since.
  if (loop_.now() - last_alive_ >= options_.wait) act();
}

void Guardian::act() {
  if (released_) return apply_policy("hawserd was stopped, and the proxy has ended");
  ++cold_starts_;
  deadline_ = loop_.now() + options_.bind;
  enter(State::kStarting, "neither hawserd nor a proxy lives: the last good proxy is started");
  actions_.cold_start([this, alive = std::weak_ptr<bool>(alive_)](const Status& status) {
    if (!alive.expired() && state_ == State::kStarting) started(status);
  });
}

void Guardian::started(const Status& status) {
  if (!status) return apply_policy(status.error().to_string());
  deadline_ = loop_.now() + options_.bind;
  enter(State::kBinding, "the last good proxy runs, and its listeners are waited for");
}

void Guardian::await_binding() {
  std::string why = Error(Code::kDeadlineExceeded, "HWS-BR-052", "its listeners aren't bound in time",
                          "without hawserd a proxy has no listeners: see why that doesn't run")
                        .to_string();
  if (actions_.bound()) {
    const Status restored = actions_.restore();
    if (restored) return enter(State::kWatching, "the last good proxy serves");
    why = restored.error().to_string();
  } else if (!actions_.proxy_running()) {
    return apply_policy("the last good proxy ended at once");
  }
  if (loop_.now() >= deadline_) apply_policy(why);
}

void Guardian::apply_policy(const std::string& why) {
  ++policies_;
  deadline_ = loop_.now() + options_.bind;
  enter(State::kPolicy, why);
  if (const Status applied = actions_.policy(); !applied) {
    detail_ = applied.error().to_string();
    log::error("the failure policy can't be applied", {{"error", detail_}});
  }
}

// Without hawserd too, a proxy may come up late. Probing what then fails changes rules, so it isn't done at every look.
void Guardian::look_for_return() {
  if (loop_.now() < deadline_ || !actions_.proxy_running() || !actions_.bound()) return;
  if (const Status restored = actions_.restore(); !restored) return apply_policy(restored.error().to_string());
  enter(State::kWatching, "the proxy serves again");
}

void Guardian::enter(State state, const std::string& detail) {
  const bool notable = state == State::kStarting || state == State::kPolicy;
  if (notable) log::error("guardian: " + std::string(to_string(state)), {{"why", detail}});
  if (!notable && !detail.empty()) log::info("guardian: " + std::string(to_string(state)), {{"why", detail}});
  state_ = state;
  detail_ = detail;
  if (state == State::kWatching) last_alive_ = loop_.now();
}

}  // namespace hawser::broker
