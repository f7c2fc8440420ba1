// SPDX-License-Identifier: Apache-2.0
#include "interception.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "broker/intent_proto.h"
#include "hawser/broker.pb.h"
#include "host_dns.h"

namespace hawser {
namespace {

using nlohmann::json;
namespace v1 = broker::v1;

constexpr auto kPlanTimeout = std::chrono::seconds(15);
constexpr auto kRemoveTimeout = std::chrono::seconds(30);
constexpr auto kCallTimeout = std::chrono::seconds(5);
constexpr auto kWatchEvery = std::chrono::seconds(2);
constexpr auto kSecondLook = std::chrono::milliseconds(300);
constexpr auto kConfirmEvery = std::chrono::milliseconds(250);

std::string failed_probes(const v1::PlanResponse& plan) {
  std::string text;
  for (const auto& probe : plan.probes())
    if (!probe.passed()) text += (text.empty() ? "" : "; ") + probe.name() + ": " + probe.detail();
  return text;
}

std::string passed_probes(const v1::PlanResponse& plan) {
  std::string text;
  for (const auto& probe : plan.probes())
    text += (text.empty() ? "" : ", ") + probe.name() + (probe.detail().empty() ? "" : " (" + probe.detail() + ")");
  return text;
}

}  // namespace

Interception::Interception(Loop& loop, broker::BrokerClient& broker, Metrics& metrics, HealthSink& health,
                           Options options)
    : loop_(loop),
      broker_(broker),
      metrics_(metrics),
      health_(health),
      options_(std::move(options)),
      backoff_(std::chrono::milliseconds(500), std::chrono::seconds(15), random_seed()) {}
Interception::~Interception() = default;

v1::Request Interception::plan_request(const Options& settings) const {
  v1::Request request;
  auto* plan = request.mutable_plan();
  plan->set_confirm_seconds(static_cast<std::uint32_t>(settings.confirm.count()));
  // The broker carries it out, also when nobody else is left.
  auto* policy = plan->mutable_on_failure();
  policy->set_inbound_closed(settings.inbound_closed);
  policy->set_outbound_closed(settings.outbound_closed);
  policy->set_max_open_seconds(static_cast<std::uint32_t>(settings.max_open.count()));
  netfilter::Intent intent = settings.intent;
  intent.ipv4 = listeners_.ipv4;
  intent.ipv6 = listeners_.ipv6;
  if (intent.dns.capture != netfilter::Dns::Capture::kOff) {
    intent.dns.ipv4 = dns_listener_bound(false, static_cast<std::uint16_t>(intent.dns.port));
    intent.dns.ipv6 = dns_listener_bound(true, static_cast<std::uint16_t>(intent.dns.port));
  }
  broker::to_proto(intent, *plan->mutable_intent());
  return request;
}

void Interception::apply(Listeners listeners, Events events) {
  revive_timer_.reset();
  listeners_ = listeners;
  events_ = std::move(events);
  if (state_ == State::kDrained) return;  // the operator's word stands
  state_ = State::kApplying;
  health_.report("interception", HealthState::kStarting, "applying", nullptr);
  begin();
}

// A try outlives a hawserd: the next one must neither replace nor confirm it.
void Interception::begin() {
  v1::Request request;
  request.mutable_observe();
  broker_.call(request, kCallTimeout, [this, alive = std::weak_ptr<bool>(alive_)](const Result<v1::Response>& answer) {
    if (alive.expired() || state_ != State::kApplying) return;
    const bool trying = answer && answer->observe().active() && answer->observe().revert();
    if (trying) return resume_try(answer->observe().digest());
    const bool in_force = answer && answer->observe().active() && answer->observe().confirmed();
    if (in_force && events_.as_it_is && events_.as_it_is()) {
      dns_state_ = dns_state();
      return confirmed();
    }
    if (events_.may_apply && !events_.may_apply()) return put_off();
    send_plan();
  });
}

void Interception::put_off() {
  state_ = State::kNone;
  const Error error(Code::kUnavailable, "HWS-IC-002", "nothing is intercepted before the control plane works",
                    "see the item control-plane; it is applied by itself then");
  health_.report("interception", HealthState::kDegraded, error.message(), &error);
}

// What a plan depends on and nobody tells: empty where DNS isn't captured.
std::string Interception::dns_state() const {
  const auto& dns = options_.intent.dns;
  if (dns.capture == netfilter::Dns::Capture::kOff) return {};
  const auto port = static_cast<std::uint16_t>(dns.port);
  return resolv_conf_stamp() + (dns_listener_bound(false, port) ? " 4" : "") +
         (dns_listener_bound(true, port) ? " 6" : "");
}

void Interception::send_plan() {
  dns_state_ = dns_state();
  broker_.call(plan_request(options_), kPlanTimeout,
               [this, alive = std::weak_ptr<bool>(alive_)](Result<v1::Response> answer) {
                 if (alive.expired() || state_ != State::kApplying) return;
                 if (!answer && answer.error().id() == "HWS-BR-038") return keep_confirmed(answer.error());
                 if (!answer) return retry(answer.error());
                 on_plan(*answer);
               });
}

void Interception::on_plan(const v1::Response& response) {
  const auto& plan = response.plan();
  if (const std::string failed = failed_probes(plan); !failed.empty())
    return retry(Error(Code::kFailedPrecondition, "HWS-IC-001", "the rules are in, but a probe failed: " + failed,
                       "see 'hawser intercept show'; another firewall may drop or redirect before us"));
  log::info("interception applied", {{"probes", passed_probes(plan)}, {"apply_ms", std::to_string(plan.apply_ms())}});
  confirm(plan.digest(), static_cast<int>(options_.confirm / kConfirmEvery));
}

// The broker's timer runs: without a working control plane nothing is confirmed, and it withdraws the plan.
void Interception::confirm(const std::string& digest, int attempts) {
  if (!events_.may_confirm()) {
    if (attempts <= 0)
      return retry(Error(Code::kUnavailable, "HWS-IC-002",
                         "interception was withdrawn: the control plane went away before it was confirmed",
                         "it is applied again when the control plane works"));
    timer_ = loop_.after(kConfirmEvery, [this, digest, attempts] { confirm(digest, attempts - 1); });
    return;
  }
  v1::Request request;
  request.mutable_confirm()->set_digest(digest);
  broker_.call(request, kCallTimeout, [this, alive = std::weak_ptr<bool>(alive_)](const Result<v1::Response>& answer) {
    if (alive.expired() || state_ != State::kApplying) return;
    if (!answer) return retry(answer.error());
    confirmed();
  });
}

void Interception::confirmed() {
  state_ = State::kActive;
  if (applied_) std::exchange(applied_, nullptr)(json{{"state", "active"}, {"digest", tried_.digest}});
  backoff_.reset();
  metrics_.add("hawser_interception_applies_total", "Plans applied", {{"result", "ok"}});
  metrics_.set("hawser_interception_active", "1 while the host's traffic is captured", {}, 1);
  const std::string families = listeners_.ipv4 && listeners_.ipv6 ? "IPv4 and IPv6" : listeners_.ipv6 ? "IPv6" : "IPv4";
  health_.report("interception", HealthState::kOk, "active, " + families, nullptr);
  watch();
  events_.active();
}

void Interception::watch() {
  timer_ = loop_.after(kWatchEvery, [this] { look(); });
}

void Interception::look() {
  v1::Request request;
  request.mutable_observe();
  broker_.call(request, kCallTimeout, [this, alive = std::weak_ptr<bool>(alive_)](const Result<v1::Response>& answer) {
    if (alive.expired() || (state_ != State::kActive && state_ != State::kTrying)) return;
    if (!answer) {
      health_.report("broker", HealthState::kFailed, answer.error().message(), &answer.error());
    } else {
      health_.report("broker", HealthState::kOk, "reachable", nullptr);
      count_drift(*answer);
      if (state_ == State::kTrying && end_try(*answer)) return;
      // The broker heals what others break, within a moment.
      const bool gone = !answer->observe().active();
      if (gone && !std::exchange(missed_, true)) {
        timer_ = loop_.after(kSecondLook, [this] { look(); });
        return;
      }
      missed_ = false;
      if (gone)
        return lost(Error(Code::kAborted, "HWS-IC-004",
                          "the rules are gone: the broker was restarted, or somebody removed them",
                          "they are applied again by themselves"));
    }
    if (state_ == State::kActive && dns_state() != dns_state_ && !(events_.as_it_is && events_.as_it_is())) {
      log::info("interception is applied again: resolv.conf or the DNS listener changed");
      state_ = State::kApplying;
      return send_plan();
    }
    watch();
  });
}

void Interception::lost(const Error& error) {
  state_ = State::kApplying;
  metrics_.add("hawser_interception_lost_total", "Times that the rules were found gone");
  metrics_.set("hawser_interception_active", "1 while the host's traffic is captured", {}, 0);
  health_.report("interception", HealthState::kDegraded, error.message(), &error);
  events_.lost(error.message());
  send_plan();
}

void Interception::retry(const Error& error) {
  if (applied_) {  // the operator hears of it, and decides
    options_ = before_;
    std::exchange(applied_, nullptr)(error);
  }
  metrics_.add("hawser_interception_applies_total", "Plans applied", {{"result", "failed"}});
  health_.report("interception", HealthState::kFailed, error.message(), &error);
  timer_ = loop_.after(std::chrono::milliseconds(200) + backoff_.next(), [this] {
    if (state_ == State::kApplying) send_plan();
  });
}

void Interception::proxy_down() {
  timer_.reset();
  if (state_ != State::kActive && state_ != State::kApplying && state_ != State::kTrying) return;
  revive_timer_ = loop_.after(options_.revive, [this] { fail(); });
}

void Interception::fail() {
  state_ = State::kFailedOpen;
  const bool inbound = options_.intent.capture_inbound && !options_.inbound_closed;
  const bool outbound = options_.intent.capture_outbound && !options_.outbound_closed;
  if (inbound || outbound)
    metrics_.add("hawser_interception_fail_open_total", "Times that traffic was let go for want of a proxy");
  show_failed(false);
  if ((inbound || outbound) && options_.max_open.count() > 0)
    timer_ = loop_.after(options_.max_open, [this] {
      if (state_ != State::kFailedOpen) return;
      metrics_.add("hawser_interception_fail_closed_total", "Times that what was let go is refused after its time");
      show_failed(true);
    });
  v1::Request request;
  request.mutable_plan()->set_fail(true);
  broker_.call(request, kPlanTimeout, [](const Result<v1::Response>& answer) {
    if (!answer) log::error("the failure policy couldn't be applied: " + answer.error().to_string());
  });
}

void Interception::show_failed(bool time_is_over) {
  open_ = !time_is_over && (!options_.inbound_closed || !options_.outbound_closed);
  const auto way = [time_is_over](bool closed) {
    return closed ? " stays refused" : time_is_over ? " is refused, since it was open for long enough" : " goes direct";
  };
  const Error error(Code::kUnavailable, time_is_over ? "HWS-IC-009" : "HWS-IC-003",
                    std::string("the proxy didn't come back: outbound traffic") + way(options_.outbound_closed) +
                        ", inbound" + way(options_.inbound_closed),
                    "hawser status names what holds the proxy up");
  health_.report("interception", HealthState::kFailed, error.message(), &error);
}

void Interception::remove(std::function<void(Status)> done) {
  timer_.reset();
  revive_timer_.reset();
  state_ = State::kRemoved;
  metrics_.set("hawser_interception_active", "1 while the host's traffic is captured", {}, 0);
  v1::Request request;
  request.mutable_remove();
  broker_.call(request, kRemoveTimeout, [done = std::move(done)](const Result<v1::Response>& answer) {
    done(answer ? Status() : Status(answer.error()));
  });
}

void Interception::stop() {
  applied_ = nullptr;
  timer_.reset();
  revive_timer_.reset();
  alive_.reset();
}

std::string Interception::state() const {
  switch (state_) {
    case State::kActive:
      return "active";
    case State::kTrying:
      return "trying";
    case State::kDrained:
      return "drained";
    case State::kApplying:
      return "applying";
    case State::kFailedOpen:
      return open_ ? "failed_open" : "failed_closed";
    case State::kNone:
    case State::kRemoved:
      break;
  }
  return "none";
}

}  // namespace hawser
