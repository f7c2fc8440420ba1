// SPDX-License-Identifier: Apache-2.0
// The parts of Interception that an operator asks for: other settings, for good or on trial, and a drain.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "base/log.h"
#include "hawser/broker.pb.h"
#include "interception.h"
#include "interception_json.h"

namespace hawser {
namespace {

using nlohmann::json;
namespace v1 = broker::v1;

constexpr auto kOperatorPlanTimeout = std::chrono::seconds(15);
constexpr auto kOperatorCallTimeout = std::chrono::seconds(5);

// sshd(8): SSH_CONNECTION is the client's address and port, and the server's.
void add_session(const std::string& ssh_connection, v1::PlanRequest& out) {
  std::istringstream words(ssh_connection);
  std::string peer;
  std::string local;
  std::uint32_t peer_port = 0;
  std::uint32_t local_port = 0;
  if (!(words >> peer >> peer_port >> local >> local_port)) return;
  auto* session = out.add_sessions();
  session->set_peer(peer);
  session->set_peer_port(peer_port);
  session->set_local(local);
  session->set_local_port(local_port);
}

json checks_of(const v1::PlanResponse& plan) {
  json out = json::array();
  for (const auto& probe : plan.probes())
    out.push_back({{"name", probe.name()}, {"passed", probe.passed()}, {"detail", probe.detail()}});
  return out;
}

}  // namespace

void Interception::apply_settings(Wish wish, Answer done) {
  const bool kept_out = wish.takeover && state_ == State::kApplying;
  if (state_ != State::kActive && state_ != State::kTrying && state_ != State::kDrained && !kept_out)
    return done(Error(Code::kFailedPrecondition, "HWS-IC-005", "there is no proxy to lead traffic to (" + state() + ")",
                      "hawser status; wait for PROXY_READY"));
  if (kept_out) timer_.reset();  // this is the next attempt
  auto request = plan_request(wish.settings);
  auto& plan = *request.mutable_plan();
  plan.set_revert(true);  // also without a trial: a proxy that doesn't answer must not cost what worked
  plan.set_by_operator(true);
  plan.set_takeover(wish.takeover);
  if (wish.revert.count() > 0) plan.set_confirm_seconds(static_cast<std::uint32_t>(wish.revert.count()));
  add_session(wish.ssh_connection, plan);
  broker_.call(request, kOperatorPlanTimeout,
               [this, alive = std::weak_ptr<bool>(alive_), wish = std::move(wish),
                done = std::move(done)](const Result<v1::Response>& answer) {
                 if (alive.expired()) return;
                 if (!answer) {
                   if (state_ == State::kApplying) retry(answer.error());
                   return done(answer.error());
                 }
                 operators_plan(wish, done, *answer);
               });
}

void Interception::operators_plan(const Wish& wish, const Answer& done, const v1::Response& response) {
  const auto& plan = response.plan();
  tried_ = {wish.settings, plan.digest()};
  if (wish.revert.count() > 0) {
    begin_try();
    return done(json{{"state", "trying"},
                     {"digest", plan.digest()},
                     {"revert_seconds", wish.revert.count()},
                     {"probes", checks_of(plan)}});
  }
  before_ = std::exchange(options_, wish.settings);
  state_ = State::kApplying;
  applied_ = done;
  on_plan(response);
}

void Interception::begin_try() {
  state_ = State::kTrying;
  const Error error(Code::kFailedPrecondition, "HWS-IC-007", "interception is being tried",
                    "`hawser intercept confirm` keeps it; without, the broker goes back by itself");
  health_.report("interception", HealthState::kDegraded, error.message(), &error);
  watch();
}

void Interception::resume_try(const std::string& digest) {
  log::warn("interception is being tried; an operator confirms it, or the broker goes back", {{"digest", digest}});
  tried_ = {options_, digest};
  begin_try();
}

// It's over when the broker went back, or when somebody confirmed it there.
bool Interception::end_try(const v1::Response& seen) {
  const auto& now = seen.observe();
  if (now.revert() || !now.active()) return false;
  const bool kept = now.digest() == tried_.digest;
  log::info(kept ? "what was tried is confirmed" : "what was tried wasn't confirmed; what was before is in force");
  if (kept) options_ = tried_.settings;
  confirmed();
  return true;
}

void Interception::confirm_tried(Answer done) {
  if (state_ != State::kTrying)
    return done(Error(Code::kFailedPrecondition, "HWS-IC-006", "nothing is being tried (any more)",
                      "hawser intercept status; hawser intercept try"));
  v1::Request request;
  request.mutable_confirm()->set_digest(tried_.digest);
  broker_.call(request, kOperatorCallTimeout,
               [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](const Result<v1::Response>& answer) {
                 if (alive.expired()) return;
                 if (!answer) return done(answer.error());
                 options_ = tried_.settings;
                 if (state_ == State::kTrying) confirmed();
                 done(json{{"state", "active"}, {"digest", tried_.digest}});
               });
}

// The settings on disk were tried, and not confirmed: what was confirmed before is wanted.
void Interception::keep_confirmed(const Error& refused) {
  v1::Request request;
  request.mutable_plan()->set_restore(true);
  broker_.call(request, kOperatorPlanTimeout,
               [this, refused, alive = std::weak_ptr<bool>(alive_)](const Result<v1::Response>& answer) {
                 if (alive.expired() || state_ != State::kApplying) return;
                 if (!answer) return retry(answer.error());
                 confirmed();
                 health_.report("interception", HealthState::kDegraded, refused.message(), &refused);
               });
}

void Interception::drain(std::chrono::seconds time, Answer done) {
  timer_.reset();
  revive_timer_.reset();
  const bool was_active = state_ == State::kActive || state_ == State::kTrying;
  state_ = State::kDrained;
  metrics_.set("hawser_interception_active", "1 while the host's traffic is captured", {}, 0);
  const Error error(Code::kFailedPrecondition, "HWS-IC-008", "interception was drained by an operator",
                    "`hawser intercept apply` brings it back");
  health_.report("interception", HealthState::kDegraded, error.message(), &error);
  if (was_active && events_.lost) events_.lost(error.message());
  v1::Request request;
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  request.mutable_remove()->set_drain_ms(static_cast<std::uint32_t>(std::max<std::int64_t>(limit, 1)));
  broker_.call(request, time + kOperatorPlanTimeout, [done = std::move(done)](const Result<v1::Response>& answer) {
    if (!answer) return done(answer.error());
    json checks = json::array();
    for (const auto& check : answer->remove().checks())
      checks.push_back({{"name", check.name()}, {"passed", check.passed()}, {"detail", check.detail()}});
    done(json{{"state", "drained"}, {"checks", checks}});
  });
}

// A broker that was restarted counts anew.
void Interception::count_drift(const v1::Response& seen) {
  const auto& drift = seen.observe().drift();
  const auto more = [](std::uint64_t now, std::uint64_t& before) {
    const auto by = now >= before ? now - before : now;
    before = now;
    return static_cast<double>(by);
  };
  metrics_.add("hawser_interception_drift_found_total", "Times that another program changed the rules", {},
               more(drift.found(), drift_found_));
  metrics_.add("hawser_interception_drift_healed_total", "Times that the rules were brought back", {},
               more(drift.healed(), drift_healed_));
  metrics_.set("hawser_interception_drift_backing_off", "1 while somebody changes the rules again and again", {},
               drift.backing_off() ? 1 : 0);
}

void Interception::observe(std::function<void(Result<json>)> done) {
  v1::Request request;
  request.mutable_observe();
  broker_.call(request, kOperatorCallTimeout, [done = std::move(done)](const Result<v1::Response>& answer) {
    if (!answer) return done(answer.error());
    done(interception_json(*answer));
  });
}

}  // namespace hawser
