// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/routed_backend.h"

#include "base/log.h"
#include "netfilter/routing.h"

namespace hawser::netfilter {

Status RoutedBackend::apply(const Plan& plan) {
  return with_routing(plan, &Backend::apply);
}

Status RoutedBackend::repair(const Plan& plan) {
  return with_routing(plan, &Backend::repair);
}

Status RoutedBackend::with_routing(const Plan& plan, Status (Backend::*bring_in)(const Plan&)) {
  const auto before = observe_routing();
  if (!before) return before.error();
  const Routing wanted = routing_of(plan);
  if (auto added = add_routing(wanted); !added) return added;
  if (auto applied = (rules_.get()->*bring_in)(plan); !applied) {
    (void)trim_routing(*before);
    return applied;
  }
  if (auto trimmed = trim_routing(wanted); !trimmed) log::warn(trimmed.error().to_string());
  return {};
}

Result<Observation> RoutedBackend::observe() {
  auto out = rules_->observe();
  if (!out) return out;
  const auto routing = observe_routing();
  if (!routing) return routing.error();
  if (routing->empty()) return out;
  out->routing = true;
  if (!out->shape.empty()) out->shape += to_string(*routing);
  out->text += to_string(*routing);
  return out;
}

Status RoutedBackend::remove_anchor() {
  auto removed = rules_->remove_anchor();
  auto trimmed = trim_routing();
  return removed ? trimmed : removed;
}

}  // namespace hawser::netfilter
