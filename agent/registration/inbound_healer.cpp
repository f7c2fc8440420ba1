// SPDX-License-Identifier: Apache-2.0
#include "registration/inbound_healer.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace hawser::registration {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(1500);  // of the first stream; twice as much of each further one
constexpr auto kSettleWithin = std::chrono::seconds(6);
constexpr auto kLookOften = std::chrono::milliseconds(100);
constexpr auto kLookSeldom = std::chrono::milliseconds(500);
constexpr unsigned kMaxTries = 5;

}  // namespace

InboundHealer::InboundHealer(Loop& loop, Metrics& metrics, Names names,
                             std::function<void(const std::string&)> reconnect, std::vector<std::uint16_t> ports,
                             HealthSink* health)
    : loop_(loop),
      metrics_(metrics),
      names_(std::move(names)),
      reconnect_(std::move(reconnect)),
      ports_(std::move(ports)),
      health_(health) {}

void InboundHealer::on_healthy() {
  tries_ = 0;
  open_ = true;
  told_at_ = since_ = loop_.now();
  look();
}

void InboundHealer::stop() {
  timer_.reset();
  open_ = false;
}

void InboundHealer::look_after(std::chrono::milliseconds delay) {
  timer_ = loop_.after(delay, [this] { look(); });
}

void InboundHealer::look() {
  names_([this, alive = std::weak_ptr<bool>(alive_)](const std::vector<std::string>& names) {
    if (!alive.expired()) judge(names);
  });
}

void InboundHealer::settle(bool complete) {
  if (std::exchange(open_, false)) settled_(complete);
}

std::string InboundHealer::missing(const std::vector<std::string>& names) const {
  const auto has = [&names](const std::string& prefix) {
    return std::any_of(names.begin(), names.end(),
                       [&prefix](const std::string& name) { return name.rfind(prefix, 0) == 0; });
  };
  // Without known ports any inbound cluster will do.
  if (ports_.empty()) return has("inbound|") ? "" : "any port";
  std::string out;
  for (const std::uint16_t port : ports_)
    if (!has("inbound|" + std::to_string(port) + "|")) out += (out.empty() ? "port " : ", ") + std::to_string(port);
  return out;
}

void InboundHealer::judge(const std::vector<std::string>& names) {
  lacking_ = missing(names);
  if (lacking_.empty()) {
    if (tries_ > 0) log::info("inbound clusters are there", {{"after_reconnects", std::to_string(tries_)}});
    tries_ = 0;
    timer_.reset();
    tell("the control plane sends a cluster for each port of this workload");
    return settle(true);
  }
  const auto now = loop_.now();
  if (open_ && now - told_at_ >= kSettleWithin) {
    log::warn("registered, but the control plane sends no inbound cluster yet", {{"for", lacking_}});
    settle(false);
  }
  if (now - since_ >= kPatience * (1U << tries_)) {
    if (tries_ == kMaxTries) return give_up(lacking_);
    ++tries_;
    ++heals_;
    since_ = now;
    metrics_.add("hawser_inbound_cluster_heals_total",
                 "Times that the stream was opened anew because the plane left out the inbound cluster");
    log::warn("the control plane left out the inbound cluster; opening the stream anew",
              {{"for", lacking_}, {"try", std::to_string(tries_)}});
    reconnect_("inbound cluster missing");
  }
  look_after(now - told_at_ < kSettleWithin ? kLookOften : kLookSeldom);
}

void InboundHealer::give_up(const std::string& lacking) {
  timer_.reset();
  const Error error(Code::kNotFound, "HWS-RG-008",
                    "no service of the mesh selects this workload for " + lacking + "; others can't call it there",
                    "a Service or ServiceEntry that selects its labels; is auto-registration on in the control plane?");
  log::warn(error.to_string());
  tell(error.message());
}

void InboundHealer::tell(const std::string& detail) const {
  if (health_ != nullptr) health_->report("inbound", HealthState::kOk, detail, nullptr);
}

}  // namespace hawser::registration
