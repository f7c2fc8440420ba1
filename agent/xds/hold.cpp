// SPDX-License-Identifier: Apache-2.0
#include "xds/hold.h"

#include <algorithm>
#include <cctype>

#include "xds/types.h"

namespace hawser::xds {
namespace {

// A generation is called fFeN: family F, epoch N.
bool is_generation(const std::string& text) {
  std::size_t at = 0;
  const auto part = [&](char letter) {
    if (at >= text.size() || text[at++] != letter) return false;
    const std::size_t begin = at;
    while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) ++at;
    return at > begin;
  };
  return text.size() < 24 && part('f') && part('e') && at == text.size();
}

Error wrong(std::string what, std::string hint) {
  return Error(Code::kInvalidArgument, "HWS-XDS-032", std::move(what), std::move(hint));
}

}  // namespace

std::string_view to_text(Hold::What what) {
  return what == Hold::What::kListeners ? "listeners" : "updates";
}

Status HoldBook::add(Hold hold, Loop::Monotonic now) {
  if (!is_generation(hold.generation))
    return wrong("'" + hold.generation + "' is no generation of the proxy", "one such as f1e0; see 'hawser status'");
  if (hold.reason.empty() || hold.reason.size() > kMaxReason)
    return wrong("a hold needs a reason of at most " + std::to_string(kMaxReason) + " bytes",
                 "say for whom or what the update waits");
  if (hold.until <= now || hold.until > now + kMaxTime)
    return wrong("a hold needs a time limit of at most one hour", "hold it again before the time is over");
  const std::tuple key(hold.generation, hold.what, hold.by);
  if (holds_.size() >= kMaxHolds && !holds_.contains(key))
    return wrong(std::to_string(kMaxHolds) + " holds are in force already", "release some: 'hawser xds release'");
  holds_[key] = std::move(hold);
  return {};
}

std::size_t HoldBook::remove(const std::string& generation, Hold::By by) {
  return std::erase_if(holds_,
                       [&](const auto& item) { return item.second.generation == generation && item.second.by == by; });
}

bool HoldBook::any(const std::string& generation, Hold::What what) const {
  return std::any_of(holds_.begin(), holds_.end(), [&](const auto& item) {
    return item.second.generation == generation && item.second.what == what;
  });
}

bool HoldBook::withholds(const std::string& generation, std::string_view type_url) const {
  if (holds_.empty()) return false;
  return withholds_all(generation) || (type_url == kListenerType && any(generation, Hold::What::kListeners));
}

std::optional<Loop::Monotonic> HoldBook::deadline() const {
  std::optional<Loop::Monotonic> out;
  for (const auto& [key, hold] : holds_) out = out ? std::min(*out, hold.until) : hold.until;
  return out;
}

std::vector<Hold> HoldBook::take_expired(Loop::Monotonic now) {
  std::vector<Hold> out;
  std::erase_if(holds_, [&](auto& item) {
    if (item.second.until > now) return false;
    out.push_back(std::move(item.second));
    return true;
  });
  return out;
}

std::vector<Hold> HoldBook::all() const {
  std::vector<Hold> out;
  for (const auto& [key, hold] : holds_) out.push_back(hold);
  return out;
}

}  // namespace hawser::xds
