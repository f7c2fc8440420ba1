// SPDX-License-Identifier: Apache-2.0
#include "registration/host_health.h"

#include <algorithm>

#include "base/log.h"

namespace hawser::registration {
namespace {

std::string kind_name(const config::HealthProbe& probe) {
  switch (probe.kind) {
    case config::HealthProbe::Kind::kHttp:
      return probe.tls ? "https" : "http";
    case config::HealthProbe::Kind::kTcp:
      return "tcp";
    case config::HealthProbe::Kind::kExec:
      return "exec";
    case config::HealthProbe::Kind::kGrpc:
      return "grpc";
    case config::HealthProbe::Kind::kNone:
      break;
  }
  return "none";
}

}  // namespace

HostHealth::HostHealth(AsioLoop& loop, Metrics& metrics, const std::vector<config::HealthProbe>& probes, bool any,
                       const ProbeSurroundings& around, Changed changed)
    : loop_(loop), metrics_(metrics), any_(any), changed_(std::move(changed)) {
  auto all = probes;
  if (all.empty()) all.emplace_back();  // kind none: well at once
  for (std::size_t i = 0; i < all.size(); ++i) {
    Entry entry;
    entry.name = all[i].service.empty() ? "program" : all[i].service;
    entry.since = loop.wall();
    entry.probe = std::make_unique<HealthProbe>(
        loop, all[i], around, [this, i](bool healthy, const std::string& reason) { on_result(i, healthy, reason); });
    entries_.push_back(std::move(entry));
  }
}

void HostHealth::start() {
  for (auto& entry : entries_) entry.probe->start();
}

void HostHealth::stop() {
  for (auto& entry : entries_) entry.probe->stop();
}

void HostHealth::open_proxy(bool open) {
  for (auto& entry : entries_) entry.probe->open_proxy(open);
}

void HostHealth::on_result(std::size_t index, bool healthy, const std::string& reason) {
  Entry& entry = entries_[index];
  entry.since = loop_.wall();
  entry.reason = reason;
  metrics_.set("hawser_service_healthy", "1 while the service's probe finds it well", {{"service", entry.name}},
               healthy ? 1 : 0);
  log::info("service " + entry.name + (healthy ? " is well" : " isn't well"), {{"reason", reason}});
  const auto now = verdict();
  if (!now) return;
  const std::string why = *now ? "" : this->reason();
  if (told_ == now && told_reason_ == why) return;
  told_ = now;
  told_reason_ = why;
  changed_(*now, why);
}

std::optional<bool> HostHealth::verdict() const {
  const auto is = [this](bool value) {
    return std::any_of(entries_.begin(), entries_.end(),
                       [value](const Entry& entry) { return entry.probe->state() == value; });
  };
  const bool unknown = std::any_of(entries_.begin(), entries_.end(),
                                   [](const Entry& entry) { return !entry.probe->state().has_value(); });
  const bool decisive = any_;  // one such result decides
  if (is(decisive)) return decisive;
  if (unknown) return std::nullopt;
  return !decisive;
}

std::string HostHealth::reason() const {
  std::string out;
  for (const auto& entry : entries_) {
    if (entry.probe->state() != false) continue;
    out += out.empty() ? "" : "; ";
    // the only probe needs no name
    out += (entries_.size() == 1 && entry.name == "program" ? "" : entry.name + ": ") + entry.reason;
  }
  return out;
}

std::vector<HostHealth::Service> HostHealth::services() const {
  std::vector<Service> out;
  for (const auto& entry : entries_) {
    Service item;
    item.name = entry.name;
    item.kind = kind_name(entry.probe->settings());
    item.through_proxy = entry.probe->settings().through_proxy;
    item.healthy = entry.probe->state();
    item.reason = entry.probe->last_reason();
    item.since = entry.since;
    item.attempts = entry.probe->attempts();
    out.push_back(std::move(item));
  }
  return out;
}

}  // namespace hawser::registration
