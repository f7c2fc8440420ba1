// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/backend_pair.h"

#include "base/log.h"

namespace hawser::netfilter {

bool BackendPair::other_empty() {
  if (!other_) return true;
  const auto found = other_->observe();
  return found && !found->rules && !found->lasting();
}

Status BackendPair::apply(const Plan& plan) {
  auto applied = chosen_->apply(plan);
  return applied ? only_chosen() : applied;
}

Status BackendPair::repair(const Plan& plan) {
  auto applied = chosen_->repair(plan);
  return applied ? only_chosen() : applied;
}

Status BackendPair::only_chosen() {
  if (!other_) return {};
  const bool empty = other_empty();
  auto removed = empty ? Status() : other_->remove_rules();
  if (removed && !empty) removed = other_->remove_anchor();
  if (!removed) {
    (void)chosen_->remove_rules();
    return removed;
  }
  if (!empty) log::info("the rules of another backend were replaced", {{"from", other_->name()}, {"to", name()}});
  other_.reset();
  return {};
}

Result<Observation> BackendPair::observe() {
  auto found = chosen_->observe();
  if (!found || found->rules || !other_) return found;
  auto others = other_->observe();
  // A kernel that hasn't even the other one has nothing of it.
  if (!others) return found;
  others->anchor = others->anchor || found->anchor;
  others->routing = others->routing || found->routing;
  others->others = true;
  if (others->rules || others->lasting()) return others;
  return found;
}

Status BackendPair::remove_rules() {
  auto removed = chosen_->remove_rules();
  if (other_empty()) return removed;
  auto others = other_->remove_rules();
  return removed ? others : removed;
}

Status BackendPair::remove_anchor() {
  auto removed = chosen_->remove_anchor();
  if (other_empty()) return removed;
  auto others = other_->remove_anchor();
  return removed ? others : removed;
}

}  // namespace hawser::netfilter
