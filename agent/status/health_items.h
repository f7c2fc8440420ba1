// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"

namespace hawser::status {

std::string_view state_name(HealthState state);

// What: the rows of `hawser status`: what each module last said of itself, and since when its state is what it is.
// Threading: on the loop. Failure: none.
// Metrics: hawser_health{item}: 0 ok, 1 starting, 2 degraded, 3 failed.
class HealthItems final : public HealthSink {
 public:
  struct Item {
    std::string name;
    HealthState state = HealthState::kStarting;
    Loop::Wall since;  // of the state, not of the detail
    std::string detail;
    std::optional<Error> error;
  };

  // An item that came into another state, or has another cause for it. The last 100 are kept, in memory; ids grow by
  // one, from the time of our start in milliseconds, so that a later hawserd's are greater.
  struct Transition {
    std::uint64_t id = 0;
    Loop::Wall at;
    std::string name;
    std::optional<HealthState> from;  // none: it's new
    HealthState to = HealthState::kStarting;
    std::string detail;
    std::string error;  // its id
  };
  static constexpr std::size_t kTransitions = 100;

  HealthItems(Loop& loop, Metrics& metrics) : loop_(loop), metrics_(metrics) {}

  void report(const std::string& item, HealthState state, const std::string& detail, const Error* error) override;
  // The host has left: nothing is answered for any more.
  void clear();

  // In the order of their first report.
  const std::vector<Item>& items() const { return items_; }
  // The worst state there is; ok when there is no item.
  HealthState overall() const;
  // The worst item as one line, with its fix; empty when all is well.
  std::string worst_line() const;
  // The array `items` of the status document: name, state, since, detail, fix, id.
  std::string items_json() const;
  const std::deque<Transition>& transitions() const { return transitions_; }
  // Those with a greater id: id, time, item, from, to, detail, error.
  std::string transitions_json(std::uint64_t after) const;

 private:
  Item* find(const std::string& name);
  void remember(const Item& item, std::optional<HealthState> from);
  void set_metric(const std::string& name, HealthState state);

  Loop& loop_;
  Metrics& metrics_;
  std::vector<Item> items_;
  std::deque<Transition> transitions_;
  std::uint64_t last_ = 0;
};

}  // namespace hawser::status
