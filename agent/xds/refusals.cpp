// SPDX-License-Identifier: Apache-2.0
#include "xds/refusals.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace hawser::xds {
namespace {

constexpr std::string_view kColon = ": ";
constexpr std::string_view kCut = "...(truncated)";  // source: grpc_mux's Utility::truncateGrpcStatusMessage

// Each word that has a colon behind it; what isn't a resource's name is none of those that were sent.
std::unordered_set<std::string> words_with_reason(std::string_view refusal) {
  std::unordered_set<std::string> out;
  std::size_t from = 0;
  for (auto colon = refusal.find(kColon); colon != std::string_view::npos; colon = refusal.find(kColon, from)) {
    const auto space = refusal.substr(from, colon - from).find_last_of(" \n");
    const auto begin = space == std::string_view::npos ? from : from + space + 1;
    out.emplace(refusal.substr(begin, colon - begin));
    from = colon + kColon.size();
  }
  return out;
}

}  // namespace

void Refusals::note(const std::string& type, const Delivery& delivery, const std::optional<std::string>& refusal) {
  OfType& of_type = types_[type];
  const auto named = refusal ? words_with_reason(*refusal) : std::unordered_set<std::string>();
  const bool any = std::any_of(delivery.resources.begin(), delivery.resources.end(),
                               [&named](const auto& item) { return named.contains(item.name); });
  const bool all = any && !refusal->ends_with(kCut);
  // Envoy applies what it can of a response, removals too: what it doesn't name it has taken.
  const Names unnamed = std::exchange(of_type.unnamed, {});
  for (const auto& item : delivery.resources) {
    if (!named.contains(item.name) && (!refusal || all)) {
      of_type.names.erase(item.name);
      continue;
    }
    // One that it never had it hasn't got by another refusal.
    const auto before = unnamed.find(item.name);
    const bool has = before == unnamed.end() ? !item.first : before->second;
    (named.contains(item.name) ? of_type.names : of_type.unnamed).try_emplace(item.name, has);
  }
  if (!refusal || all)
    for (const auto& name : delivery.removed) of_type.names.erase(name);
  if (refusal) of_type.reason = *refusal;
  if (of_type.over()) types_.erase(type);
}

void Refusals::forget(const std::string& type, const InterestChange& change) {
  const auto found = types_.find(type);
  if (found == types_.end()) return;
  for (const auto& name : change.removed) {
    found->second.names.erase(name);
    found->second.unnamed.erase(name);
  }
  if (change.all_removed || found->second.over()) types_.erase(found);
}

std::vector<std::string> Refusals::of_what_it_has() const {
  const auto has = [](const Names& names) {
    return std::any_of(names.begin(), names.end(), [](const auto& item) { return item.second; });
  };
  std::vector<std::string> out;
  for (const auto& [type, of_type] : types_)
    if (has(of_type.names) || has(of_type.unnamed)) out.push_back(type);
  return out;
}

std::map<std::string, std::string> Refusals::reasons() const {
  std::map<std::string, std::string> out;
  for (const auto& [type, of_type] : types_) out.emplace(type, of_type.reason);
  return out;
}

}  // namespace hawser::xds
