// SPDX-License-Identifier: Apache-2.0
#include "registration/inbound_healer.h"

#include <algorithm>

#include "base/log.h"

namespace hawser::registration {
namespace {

constexpr auto kFirstLook = std::chrono::milliseconds(1500);
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
  look_after(kFirstLook);
}

void InboundHealer::look_after(std::chrono::milliseconds delay) {
  timer_ = loop_.after(delay, [this] {
    names_([this, alive = std::weak_ptr<bool>(alive_)](const std::vector<std::string>& names) {
      if (!alive.expired()) judge(names);
    });
  });
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
  const std::string lacking = missing(names);
  if (lacking.empty()) {
    if (tries_ > 0) log::info("inbound clusters are there", {{"after_reconnects", std::to_string(tries_)}});
    tries_ = 0;
    tell("the control plane sends a cluster for each port of this workload");
    return;
  }
  if (tries_ == kMaxTries) return give_up(lacking);
  ++tries_;
  metrics_.add("hawser_inbound_cluster_heals_total",
               "Times that the stream was opened anew because the plane left out the inbound cluster");
  log::warn("the control plane left out the inbound cluster; opening the stream anew",
            {{"for", lacking}, {"try", std::to_string(tries_)}});
  reconnect_("inbound cluster missing");
  look_after(kFirstLook * (1U << tries_));
}

void InboundHealer::give_up(const std::string& lacking) {
  log::warn("the control plane sends no inbound cluster for this workload",
            {{"for", lacking}, {"fix", "is there a Service or ServiceEntry that selects it?"}});
  tell("no service of the mesh selects this workload for " + lacking + "; others can't call it there");
}

void InboundHealer::tell(const std::string& detail) const {
  if (health_ != nullptr) health_->report("inbound", HealthState::kOk, detail, nullptr);
}

}  // namespace hawser::registration
