// SPDX-License-Identifier: Apache-2.0
#include "status/health_items.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "status/time_text.h"

namespace hawser::status {
namespace {

// Ok < starting < degraded < failed, and the values of the metric.
int rank(HealthState state) {
  switch (state) {
    case HealthState::kOk:
      return 0;
    case HealthState::kStarting:
      return 1;
    case HealthState::kDegraded:
      return 2;
    case HealthState::kFailed:
      return 3;
  }
  return 3;
}

bool is_trouble(HealthState state) {
  return rank(state) >= rank(HealthState::kDegraded);
}

std::string id_of(const std::optional<Error>& error) {
  return error ? error->id() : std::string();
}
std::string fix_of(const std::optional<Error>& error) {
  return error ? error->hint() : std::string();
}

// The log tells changes only; what repeats is seen in the status document.
void announce(const HealthItems::Item& item) {
  const std::string line = item.name + ": " + item.detail;
  const std::string state(state_name(item.state));
  if (!is_trouble(item.state)) return log::info(line, {{"item", item.name}, {"state", state}});
  const log::Fields fields = {
      {"item", item.name},
      {"state", state},
      {"error", item.error ? item.error->to_string() : "none"},
  };
  if (item.state == HealthState::kFailed) return log::error(line, fields);
  log::warn(line, fields);
}

}  // namespace

std::string_view state_name(HealthState state) {
  switch (state) {
    case HealthState::kOk:
      return "ok";
    case HealthState::kStarting:
      return "starting";
    case HealthState::kDegraded:
      return "degraded";
    case HealthState::kFailed:
      return "failed";
  }
  return "failed";
}

void HealthItems::report(const std::string& name, HealthState state, const std::string& detail, const Error* error) {
  std::optional<Error> cause;
  if (error != nullptr && is_trouble(state)) cause = *error;
  Item* item = find(name);
  const bool changed = item == nullptr || item->state != state || id_of(item->error) != id_of(cause);
  std::optional<HealthState> from;
  if (item != nullptr) from = item->state;
  if (item == nullptr) {
    items_.push_back({name, state, loop_.wall(), detail, cause});
    item = &items_.back();
  } else {
    if (item->state != state) item->since = loop_.wall();
    item->state = state;
    item->detail = detail;
    item->error = cause;
  }
  if (!changed) return;
  remember(*item, from);
  set_metric(name, state);
  announce(*item);
}

void HealthItems::clear() {
  for (const auto& item : items_) set_metric(item.name, HealthState::kOk);
  items_.clear();
}

HealthState HealthItems::overall() const {
  HealthState worst = HealthState::kOk;
  for (const auto& item : items_)
    if (rank(item.state) > rank(worst)) worst = item.state;
  return worst;
}

std::string HealthItems::worst_line() const {
  const auto worst = std::max_element(items_.begin(), items_.end(),
                                      [](const Item& a, const Item& b) { return rank(a.state) < rank(b.state); });
  if (worst == items_.end() || worst->state == HealthState::kOk) return {};
  std::string line = worst->name + ": " + worst->detail;
  if (const auto fix = fix_of(worst->error); !fix.empty()) line += " (fix: " + fix + ")";
  if (const auto id = id_of(worst->error); !id.empty()) line += " [" + id + "]";
  return line;
}

std::string HealthItems::items_json() const {
  auto out = nlohmann::json::array();
  for (const auto& item : items_)
    out.push_back({{"name", item.name},
                   {"state", state_name(item.state)},
                   {"since", utc_text(item.since)},
                   {"detail", item.detail},
                   {"fix", fix_of(item.error)},
                   {"id", id_of(item.error)}});
  // Details may quote foreign bytes; what isn't UTF-8 is replaced, where the default would throw.
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void HealthItems::remember(const Item& item, std::optional<HealthState> from) {
  const auto now = loop_.wall();
  if (last_ == 0)
    last_ = static_cast<std::uint64_t>(std::max<std::int64_t>(
        0, std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count()));
  transitions_.push_back({++last_, now, item.name, from, item.state, item.detail, id_of(item.error)});
  if (transitions_.size() > kTransitions) transitions_.pop_front();
}

std::string HealthItems::transitions_json(std::uint64_t after) const {
  auto out = nlohmann::json::array();
  for (const auto& each : transitions_) {
    if (each.id <= after) continue;
    out.push_back({{"id", each.id},
                   {"time", utc_text(each.at)},
                   {"item", each.name},
                   {"from", each.from ? state_name(*each.from) : std::string_view()},
                   {"to", state_name(each.to)},
                   {"detail", each.detail},
                   {"error", each.error}});
  }
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

HealthItems::Item* HealthItems::find(const std::string& name) {
  const auto found =
      std::find_if(items_.begin(), items_.end(), [&name](const Item& item) { return item.name == name; });
  return found == items_.end() ? nullptr : &*found;
}

void HealthItems::set_metric(const std::string& name, HealthState state) {
  metrics_.set("hawser_health", "State of each item: 0 ok, 1 starting, 2 degraded, 3 failed", {{"item", name}},
               rank(state));
}

}  // namespace hawser::status
