// SPDX-License-Identifier: Apache-2.0
#include "proxy/crash_budget.h"

#include <utility>

namespace hawser::proxy {

void CrashBudget::begin(const std::string& sha256) {
  if (sha256_ == sha256) return;
  *this = CrashBudget(options_);
  sha256_ = sha256;
}

void CrashBudget::live(const std::string& sha256, Monotonic now) {
  begin(sha256);
  if (!first_live_) first_live_ = now;
  live_since_ = now;
}

void CrashBudget::trust(const std::string& sha256) {
  begin(sha256);
  good_ = true;
}

bool CrashBudget::proves(const std::string& sha256, Monotonic now) {
  if (good_ || sha256 != sha256_ || !first_live_ || now - *first_live_ < options_.probation) return false;
  if (!ends_.empty() && now - ends_.back() < options_.window) return false;
  good_ = true;
  return true;
}

bool CrashBudget::ended(const std::string& sha256, Monotonic now) {
  begin(sha256);
  const auto live_since = std::exchange(live_since_, std::nullopt);
  if (good_) return false;
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
