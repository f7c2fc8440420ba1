// SPDX-License-Identifier: Apache-2.0
#include "registration.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "registration/refusal.h"
#include "status/time_text.h"

namespace hawser {
namespace {

using nlohmann::json;

constexpr const char* kClusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
constexpr std::size_t kMaxEntryName = 253;

std::vector<std::uint16_t> port_numbers(const std::vector<config::ServicePort>& ports) {
  std::vector<std::uint16_t> out;
  for (const auto& port : ports) out.push_back(port.port);
  return out;
}

json health_text(std::optional<bool> healthy) {
  if (!healthy) return "unknown";
  return *healthy ? "healthy" : "unhealthy";
}

json services_json(const std::vector<registration::HostHealth::Service>& services) {
  json out = json::array();
  for (const auto& item : services) {
    json service = {{"name", item.name},
                    {"probe", item.kind},
                    {"through_proxy", item.through_proxy},
                    {"health", health_text(item.healthy)},
                    {"attempts", item.attempts}};
    if (item.healthy) service["since"] = status::utc_text(item.since);
    if (!item.reason.empty()) service["reason"] = item.reason;
    out.push_back(std::move(service));
  }
  return out;
}

json address_json(const bootstrap::AddressChoice& own) {
  json rejected = json::array();
  for (const auto& item : own.rejected)
    rejected.push_back({{"address", item.address}, {"interface", item.interface}, {"reason", item.reason}});
  return {{"addresses", own.addresses}, {"rule", own.rule}, {"rejected", rejected}};
}

}  // namespace

std::string workload_entry_name(const config::Config& config, const HostFacts& facts) {
  if (config.workload.group.empty() || facts.addresses.empty()) return {};
  std::string name = config.workload.group + "-" + facts.addresses.front();
  std::replace(name.begin(), name.end(), ':', '-');
  if (!config.mesh.network.empty()) name += "-" + config.mesh.network;
  return name.size() > kMaxEntryName ? name.substr(name.size() - kMaxEntryName) : name;
}

std::vector<config::HostPort> Registration::probes_through_proxy(const config::Config& config, const HostFacts& facts) {
  std::vector<config::HostPort> out;
  for (const auto& probe : config.health_probes())
    if (probe.through_proxy && !facts.addresses.empty()) out.push_back({facts.addresses.front(), probe.port});
  return out;
}

Registration::Registration(Context context, const config::Config& config, const HostFacts& facts, Hooks hooks)
    : context_(context),
      config_(config),
      facts_(facts),
      hooks_(std::move(hooks)),
      reporter_(
          context.loop, context.metrics, context.health,
          [this](bool healthy, const std::string& message) { context_.relay.report_health(healthy, message); },
          config.health.report_interval),
      healer_(
          context.loop, context.metrics,
          [this](std::function<void(std::vector<std::string>)> use) {
            context_.relay.names(kClusters, std::move(use));
          },
          [this](const std::string& reason) { context_.relay.reconnect(reason); }, port_numbers(config.workload.ports),
          &context.health),
      services_(context.loop, context.metrics, config.health_probes(), config.health.any,
                {facts.addresses.empty() ? "" : facts.addresses.front(), hooks_.identity},
                [this](bool healthy, const std::string& reason) {
                  context_.health.report("program", healthy ? HealthState::kOk : HealthState::kDegraded,
                                         healthy ? "healthy" : reason, nullptr);
                  reporter_.set_program(healthy, reason);
                }) {
  reporter_.on_told([this](bool healthy) { told(healthy); });
  healer_.on_settled([this](bool) { hooks_.registered(); });
}

void Registration::start() {
  services_.start();
}

// A program that isn't well is registered too, as such; and nobody calls it, so that nothing has to be there yet.
void Registration::told(bool healthy) {
  if (!healthy || config_.workload.group.empty()) return hooks_.registered();
  healer_.on_healthy();
}

bool Registration::captured(bool ipv4, bool ipv6) {
  if (!config_.interception.inbound || facts_.addresses.empty()) return true;
  const std::string& first = facts_.addresses.front();
  const auto is_captured = [&](const std::string& address) { return bootstrap::is_ipv6(address) ? ipv6 : ipv4; };
  if (!is_captured(first)) {
    const Error error(Code::kFailedPrecondition, "HWS-NF-008",
                      "the mesh would call " + first + ", but the proxy has no listener in that family",
                      "tell an address of the other family (workload.address_rule: {family: v4}), or let the control "
                      "plane serve both (istiod: ISTIO_DUAL_STACK=true)");
    context_.health.report("address", HealthState::kDegraded, error.message(), &error);
    return false;
  }
  std::string detail;
  for (const auto& address : facts_.addresses)
    detail += (detail.empty() ? "" : ", ") + address + (is_captured(address) ? "" : " (not captured)");
  context_.health.report("address", HealthState::kOk, detail + ", by " + facts_.own.rule, nullptr);
  return true;
}

void Registration::intercepted(bool ipv4, bool ipv6) {
  if (!captured(ipv4, ipv6)) return not_intercepted("traffic to " + facts_.addresses.front() + " isn't intercepted");
  services_.open_proxy(true);
  reporter_.set_interception(true);
  if (reporter_.told() == false) hooks_.registered();
}

void Registration::not_intercepted(const std::string& reason) {
  services_.open_proxy(false);
  reporter_.set_interception(false, reason.empty() ? "traffic isn't intercepted" : reason);
}

void Registration::drain(const std::string& reason) {
  reporter_.set_drain(reason);
}

void Registration::connected(bool connected) {
  if (!connected || !refusal_) return;
  refusal_.reset();
  context_.health.report("registration", HealthState::kStarting, "the control plane takes this host now", nullptr);
}

void Registration::failed(const Error& error) {
  if (error.cause() == nullptr || config_.workload.group.empty()) return;
  auto refusal =
      registration::explain_refusal(error.cause()->code(), error.cause()->message(),
                                    {config_.mesh.ns, config_.workload.group, config_.workload.service_account});
  if (!refusal) return;
  refusal_ = std::move(refusal);
  context_.health.report("registration", HealthState::kDegraded, refusal_->message(), &*refusal_);
}

void Registration::withdraw(std::chrono::milliseconds wait, std::function<void()> done) {
  services_.stop();
  healer_.stop();
  const bool announced = reporter_.told() == true;
  reporter_.withdraw();
  // Whoever wasn't told to come, or can't be told to stop coming, isn't waited for.
  if (!announced || wait.count() == 0 || !context_.relay.status().connected) return done();
  log::info("withdrawn; serving on until callers have heard of it", {{"wait_ms", std::to_string(wait.count())}});
  timer_ = context_.loop.after(wait, std::move(done));
}

void Registration::stop() {
  services_.stop();
  healer_.stop();
  timer_.reset();
}

json Registration::describe() const {
  json out = address_json(facts_.own);
  out["address"] = facts_.addresses.empty() ? "" : facts_.addresses.front();
  out["group"] = config_.workload.group;
  out["namespace"] = config_.mesh.ns;
  out["service_account"] = config_.workload.service_account;
  out["network"] = config_.mesh.network;
  out["locality"] = config_.workload.locality;
  out["labels"] = config_.workload.labels;
  out["entry"] = workload_entry_name(config_, facts_);
  out["health"] = health_text(reporter_.told());
  out["policy"] = config_.health.any ? "any" : "all";
  out["services"] = services_json(services_.services());
  out["reports"] = reporter_.reports();
  out["withdrawn"] = reporter_.withdrawn();
  out["inbound_heals"] = healer_.heals();
  out["inbound_lacks"] = healer_.lacking();
  if (reporter_.told()) {
    out["told_at"] = status::utc_text(reporter_.told_at());
    if (!reporter_.told_reason().empty()) out["reason"] = reporter_.told_reason();
  }
  if (refusal_)
    out["refusal"] = {{"id", refusal_->id()},
                      {"message", refusal_->message()},
                      {"fix", refusal_->hint()},
                      {"answer", refusal_->cause() == nullptr ? "" : refusal_->cause()->message()}};
  return out;
}

}  // namespace hawser
