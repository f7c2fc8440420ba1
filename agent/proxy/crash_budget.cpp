// SPDX-License-Identifier: Apache-2.0
#include "proxy/crash_budget.h"

#include <utility>

namespace hawser::proxy {

void CrashBudget::begin(const std::string& sha256) {
  if (sha256_ == sha256) return;
  sha256_ = sha256;
  first_live_.reset();
  live_since_.reset();
  quick_ = 0;
  ends_.clear();
}

void CrashBudget::live(const std::string& sha256, Monotonic now) {
  begin(sha256);
  if (!first_live_) first_live_ = now;
  live_since_ = now;
}

void CrashBudget::trust(const std::string& sha256) {
  good_.insert(sha256);
}

bool CrashBudget::proves(const std::string& sha256, Monotonic now) {
  if (good_.count(sha256) > 0 || sha256 != sha256_) return false;
  if (!first_live_ || now - *first_live_ < options_.probation) return false;
  if (!ends_.empty() && now - ends_.back() < options_.window) return false;
  trust(sha256);
  return true;
}

bool CrashBudget::ended(const std::string& sha256, Monotonic now) {
  begin(sha256);
  const auto live_since = std::exchange(live_since_, std::nullopt);
  if (good_.count(sha256) > 0) return false;
  if (live_since) quick_ = now - *live_since <= options_.quick_within ? quick_ + 1 : 0;
  ends_.push_back(now);
  while (now - ends_.front() > options_.window) ends_.pop_front();
  if (ends_.size() < options_.ends && quick_ < options_.quick) return false;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - ends_.front()).count();
  spent_ = std::to_string(ends_.size()) + " ends in " + std::to_string(seconds) + " s";
  ends_.clear();
  quick_ = 0;
  return true;
}

}  // namespace hawser::proxy
