// SPDX-License-Identifier: Apache-2.0
#include "agent.h"

namespace hawser::fleet {

Agent::Agent(Loop& loop, Metrics& metrics, Census& census, std::size_t number)
    : census_(census),
      number_(number),
      relay_(std::make_unique<xds::Relay>(loop, metrics, *this, xds::Relay::Options{})) {
  relay_->on_connected([this](bool connected) { connected ? census_.answered(number_) : census_.lost(number_); });
}

void Agent::start(std::string node, const xds::UpstreamOptions& upstream, const Identity& identity) {
  relay_->start(
      std::move(node), upstream,
      [this, &identity] {
        census_.tried(number_);
        return identity.certificate;
      },
      [&identity]() -> Result<std::string> { return identity.token; });
  relay_->report_health(true, "");
}

void Agent::stop(std::function<void()> done) {
  relay_->stop(std::move(done));
}

void Agent::report(const std::string&, HealthState, const std::string&, const Error* error) {
  if (error != nullptr) census_.failed(error->id());
}

}  // namespace hawser::fleet
