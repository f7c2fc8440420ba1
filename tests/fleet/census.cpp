// SPDX-License-Identifier: Apache-2.0
#include "census.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "figures.h"

namespace hawser::fleet {
namespace {

using nlohmann::json;
using std::chrono::duration;
using std::chrono::duration_cast;
using std::chrono::seconds;

constexpr std::size_t kNamed = 10;

}  // namespace

Census::Census(const Loop& loop, std::vector<std::string> names) : loop_(loop), marked_(loop.now()) {
  for (auto& name : names) hosts_.push_back({std::move(name), false, false, {}});
}

void Census::tried(std::size_t) {
  ++tries_by_second_[duration_cast<seconds>(loop_.now() - marked_).count()];
}

void Census::answered(std::size_t host) {
  Host& known = hosts_.at(host);
  ++answers_;
  known.connected = true;
  if (std::exchange(known.ever, true)) gone_.push_back(duration<double>(loop_.now() - known.lost_at).count());
}

void Census::lost(std::size_t host) {
  Host& known = hosts_.at(host);
  ++losses_;
  known.connected = false;
  known.lost_at = loop_.now();
}

void Census::failed(const std::string& id) {
  ++errors_[id];
}

void Census::mark() {
  marked_ = loop_.now();
  tries_by_second_.clear();
  errors_.clear();
  gone_.clear();
  answers_ = losses_ = 0;
}

json Census::report() const {
  std::size_t tries = 0, peak = 0, missing = 0;
  for (const auto& [second, count] : tries_by_second_) {
    tries += count;
    peak = std::max(peak, count);
  }
  json named = json::array();
  for (const auto& host : hosts_) {
    if (host.connected) continue;
    if (missing++ < kNamed) named.push_back(host.name);
  }
  return {{"agents", hosts_.size()}, {"connected", hosts_.size() - missing},
          {"missing", named},        {"seconds", duration<double>(loop_.now() - marked_).count()},
          {"tries", tries},          {"tries_in_busiest_second", peak},
          {"answers", answers_},     {"losses", losses_},
          {"errors", errors_},       {"gone", gone_json(gone_)}};
}

}  // namespace hawser::fleet
