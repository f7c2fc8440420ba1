// SPDX-License-Identifier: Apache-2.0
#include "tally.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace hawser::hand_over {

void Tally::good(Kind kind, Clock::time_point due) {
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - due).count();
  const std::lock_guard lock(mutex_);
  ++good_[static_cast<std::size_t>(kind)];
  samples_.push_back({nanoseconds(due), static_cast<std::uint32_t>(took), static_cast<std::uint32_t>(kind)});
}

void Tally::failed(Kind kind, const std::string& why) {
  const std::lock_guard lock(mutex_);
  ++failed_[static_cast<std::size_t>(kind)];
  note(failures_, {nanoseconds(Clock::now()), 0, kind, why});
}

void Tally::ended(Kind kind, const std::string& how, Clock::time_point opened) {
  const std::lock_guard lock(mutex_);
  ++ended_[static_cast<std::size_t>(kind)];
  note(ends_, {nanoseconds(Clock::now()), nanoseconds(opened), kind, how});
}

void Tally::note(std::vector<Event>& where, Event event) {
  if (where.size() < kMaxEvents) where.push_back(std::move(event));
}

bool Tally::all_good_once(const std::vector<Kind>& kinds) const {
  const std::lock_guard lock(mutex_);
  return std::all_of(kinds.begin(), kinds.end(),
                     [this](Kind kind) { return good_[static_cast<std::size_t>(kind)] > 0; });
}

bool Tally::write_samples(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(samples_.data()),
             static_cast<std::streamsize>(samples_.size() * sizeof(Sample)));
  return static_cast<bool>(file.flush());
}

std::string Tally::json() const {
  const auto list = [](const std::vector<Event>& events) {
    auto out = nlohmann::json::array();
    for (const auto& event : events)
      out.push_back({{"at", static_cast<double>(event.at) / 1e9},
                     {"opened", static_cast<double>(event.opened) / 1e9},
                     {"kind", kKindNames[static_cast<std::size_t>(event.kind)]},
                     {"what", event.what}});
    return out;
  };
  const std::lock_guard lock(mutex_);
  nlohmann::json out{{"failures", list(failures_)}, {"ends", list(ends_)}};
  for (std::size_t i = 0; i < kKindNames.size(); ++i)
    out["kinds"][kKindNames[i]] = {{"good", good_[i]}, {"failed", failed_[i]}, {"ended", ended_[i]}};
  return out.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace hawser::hand_over
