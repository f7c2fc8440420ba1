// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>

#include "netfilter/backend.h"

// What: a backend with the routing that its rules count on (routing.h). It's there before the rules are, and stays
// until the anchor goes, for established connections of the proxy's live on it. Threading, failure: see Backend and
// routing.h; if the rules can't be applied, what came for them goes.
namespace hawser::netfilter {

class RoutedBackend final : public Backend {
 public:
  explicit RoutedBackend(std::unique_ptr<Backend> rules) : rules_(std::move(rules)) {}

  const char* name() const override { return rules_->name(); }
  std::string reason() const override { return rules_->reason(); }
  std::uint32_t port_id() const override { return rules_->port_id(); }
  Status apply(const Plan& plan) override;
  Status repair(const Plan& plan) override;
  Result<Observation> observe() override;
  Result<Counters> counters() override { return rules_->counters(); }
  Status remove_rules() override { return rules_->remove_rules(); }
  Status remove_anchor() override;

 private:
  Status with_routing(const Plan& plan, Status (Backend::*bring_in)(const Plan&));

  std::unique_ptr<Backend> rules_;
};

}  // namespace hawser::netfilter
