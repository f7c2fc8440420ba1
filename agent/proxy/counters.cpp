// SPDX-License-Identifier: Apache-2.0
#include "proxy/counters.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "proxy/exposition.h"

namespace hawser::proxy {
namespace {

constexpr std::uint32_t kNone = 0xffffffff;
constexpr double kExact = 9007199254740992.0;  // 2^53: up to here a double holds every integer

void append_number(std::string& out, double value) {
  char text[40];
  const bool whole = std::abs(value) < kExact && value == std::floor(value);
  const auto end = whole ? std::to_chars(text, text + sizeof(text), static_cast<std::int64_t>(value)).ptr
                         : std::to_chars(text, text + sizeof(text), value).ptr;
  out.append(text, static_cast<std::size_t>(end - text));
}

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(), [name](auto suffix) { return name.ends_with(suffix); });
}

// Of one process, and not to be added to another's.
bool describes_process(std::string_view name) {
  if (name.starts_with("envoy_server_"))
    return name.find("memory") == std::string_view::npos && !name.ends_with("_connections");
  return ends_with_any(name, {"_version", "_connected_state", "_last_update_time", "_update_time"});
}

const char* type_name(bool histogram, bool counter) {
  return histogram ? "histogram" : counter ? "counter" : "gauge";
}

void append_type(std::string& out, const std::string& name, const char* type) {
  out.append("# TYPE ").append(name).append(" ").append(type).push_back('\n');
}

}  // namespace

Counters::Kind Counters::kind_of(std::string_view type, std::string_view name, bool& known) {
  known = true;
  if (type == "counter") return Kind::kCounter;
  if (type == "histogram") return Kind::kHistogram;
  if (type == "gauge") return describes_process(name) ? Kind::kState : Kind::kGauge;
  known = false;
  return Kind::kGauge;
}

Counters::Slot* Counters::find(const std::string& name) {
  const auto found = std::find_if(slots_.begin(), slots_.end(),
                                  [&name](const Slot& slot) { return slot.used && slot.generation.name == name; });
  return found == slots_.end() ? nullptr : &*found;
}

void Counters::begin_round(const std::vector<Generation>& now) {
  const auto runs = [&now](const Generation& known) {
    return std::any_of(now.begin(), now.end(), [&known](const Generation& each) {
      return each.name == known.name && (each.pid == 0 || known.pid == 0 || each.pid == known.pid);
    });
  };
  for (auto& slot : slots_) {
    if (slot.used && !runs(slot.generation)) fold(slot);
    slot.fresh = false;
  }
  order_.clear();
  for (const auto& each : now) {
    Slot* slot = find(each.name);
    if (slot == nullptr) {
      const auto free = std::find_if(slots_.begin(), slots_.end(), [](const Slot& item) { return !item.used; });
      if (free == slots_.end()) continue;  // the supervisor keeps to two
      slot = &*free;
      *slot = Slot{each, true, false, 0};
    }
    if (each.pid != 0) slot->generation.pid = each.pid;
    order_.push_back(slot_index(*slot));
  }
}

// What it last said stays.
void Counters::fold(Slot& slot) {
  const std::size_t at = slot_index(slot);
  for (auto& series : series_) {
    if (adds_up(families_[series.family].kind)) series.ended += series.value[at];
    series.value[at] = 0;
    series.seen[at] = 0;
  }
  slot = Slot{};
  order_.erase(std::remove(order_.begin(), order_.end(), at), order_.end());
  ++ended_;
}

bool Counters::take(const std::string& name, std::string_view exposition) {
  Slot* slot = find(name);
  if (slot == nullptr) return false;
  ++slot->reading;
  slot->fresh = true;
  read(*slot, exposition);
  return true;
}

void Counters::read(Slot& slot, std::string_view text) {
  const std::size_t at = slot_index(slot);
  std::uint32_t current = kNone;
  std::uint32_t next = 0;
  std::vector<Reading> group;  // one histogram's lines, which follow each other
  while (!text.empty()) {
    const std::string_view line = exposition::take_line(text);
    if (line.starts_with('#')) {
      commit(slot, group);
      current = declare(line, current);
      continue;
    }
    const auto sample = exposition::parse_sample(line);
    if (current == kNone || !sample) continue;
    const Family& family = families_[current];
    const auto part = exposition::part_of(sample->name, family.name);
    const bool histogram = family.kind == Kind::kHistogram;
    if (part == exposition::Part::kOther || histogram == (part == exposition::Part::kPlain)) continue;
    if (adds_up(family.kind) && sample->value < 0) continue;
    // Mostly the one after the one before, as in every reading so far.
    const bool as_before = next < series_.size() && series_[next].family == current && series_[next].key == sample->key;
    const auto index = as_before ? next : series_of(current, sample->key);
    if (index == kNone) continue;
    next = index + 1;
    if (adds_up(families_[current].kind)) {
      group.emplace_back(index, sample->value);
      if (!histogram || part == exposition::Part::kCount) commit(slot, group);
      continue;
    }
    series_[index].value[at] = sample->value;
    series_[index].seen[at] = slot.reading;
  }
  commit(slot, group);
}

// The family that a comment begins; other comments leave the one at hand.
std::uint32_t Counters::declare(std::string_view line, std::uint32_t current) {
  const auto type = exposition::parse_type(line);
  if (!type) return current;
  bool known = false;
  const Kind kind = kind_of(type->type, type->name, known);
  if (!known) return kNone;
  const auto found = family_index_.find(std::string(type->name));
  if (found != family_index_.end()) return families_[found->second].kind == kind ? found->second : kNone;
  if (families_.size() >= kMaxSeries) return kNone;
  const auto number = static_cast<std::uint32_t>(families_.size());
  family_index_.emplace(type->name, number);
  families_.push_back({std::string(type->name), kind, {}});
  return number;
}

std::uint32_t Counters::series_of(std::uint32_t family, std::string_view key) {
  if (const auto found = index_.find(key); found != index_.end())
    return series_[found->second].family == family ? found->second : kNone;
  if (series_.size() >= kMaxSeries) {
    ++refused_;
    return kNone;
  }
  const auto index = static_cast<std::uint32_t>(series_.size());
  Series series;
  series.key = key;
  series.family = family;
  series_.push_back(std::move(series));
  index_.emplace(series_.back().key, index);
  families_[family].series.push_back(index);
  return index;
}

// A histogram's lines begin anew together or not at all, else its buckets wouldn't fit each other.
void Counters::commit(const Slot& slot, std::vector<Reading>& group) {
  const std::size_t at = slot_index(slot);
  const bool anew = std::any_of(group.begin(), group.end(), [this, at](const Reading& reading) {
    return reading.second < series_[reading.first].value[at];
  });
  for (const auto& [index, value] : group) {
    Series& series = series_[index];
    if (anew) series.ended += series.value[at];
    series.value[at] = value;
    series.seen[at] = slot.reading;
  }
  group.clear();
}

double Counters::total(const Series& series) const {
  double sum = series.ended;
  for (const double value : series.value) sum += value;
  return sum;
}

bool Counters::gauge(const Series& series, Kind kind, double& out) const {
  bool any = false;
  out = 0;
  for (const std::size_t at : order_) {
    const Slot& slot = slots_[at];
    if (!slot.fresh || series.seen[at] != slot.reading) continue;
    if (any && kind == Kind::kState) return true;
    out += series.value[at];
    any = true;
  }
  return any;
}

std::string Counters::text() {
  std::string out;
  out.reserve(series_.size() * 128);
  for (const auto& family : families_) {
    bool typed = false;
    for (const auto index : family.series) {
      Series& series = series_[index];
      double value = 0;
      if (adds_up(family.kind))
        // In floating point the order of a sum matters: never less than was said before.
        value = series.shown = std::max(series.shown, total(series));
      else if (!gauge(series, family.kind, value))
        continue;
      if (!std::exchange(typed, true))
        append_type(out, family.name, type_name(family.kind == Kind::kHistogram, family.kind == Kind::kCounter));
      out.append(series.key).push_back(' ');
      append_number(out, value);
      out.push_back('\n');
    }
  }
  if (series_.size() >= kMaxSeries) make_room();
  return out;
}

// What counts nothing, and gauges that nobody tells any more.
void Counters::make_room() {
  std::deque<Series> kept;
  for (auto& series : series_) {
    const bool counts = adds_up(families_[series.family].kind);
    bool told = false;
    for (const auto& slot : slots_)
      told = told || (slot.used && slot.reading != 0 && series.seen[slot_index(slot)] == slot.reading);
    if (told || (counts && total(series) > 0)) kept.push_back(std::move(series));
  }
  series_ = std::move(kept);
  index_.clear();
  for (auto& family : families_) family.series.clear();
  for (std::uint32_t at = 0; at < series_.size(); ++at) {
    index_.emplace(series_[at].key, at);
    families_[series_[at].family].series.push_back(at);
  }
}

}  // namespace hawser::proxy
