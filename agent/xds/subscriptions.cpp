// SPDX-License-Identifier: Apache-2.0
#include "xds/subscriptions.h"

#include <algorithm>
#include <utility>

namespace hawser::xds {
namespace {

std::vector<std::string> take_sorted(std::unordered_set<std::string>& names) {
  std::vector<std::string> out(names.begin(), names.end());
  std::sort(out.begin(), out.end());
  names.clear();
  return out;
}

}  // namespace

void Subscriptions::want(const std::string& type, const std::string& name) {
  OfType& of_type = types_[type];
  if (of_type.names[name]++ == 0 && of_type.opened) of_type.to_subscribe.insert(name);
}

bool Subscriptions::unwant(const std::string& type, const std::string& name) {
  OfType& of_type = types_[type];
  const auto found = of_type.names.find(name);
  if (found == of_type.names.end() || --found->second > 0) return false;
  of_type.names.erase(found);
  // A name that was dropped and wanted again before the stream heard of it stays in to_unsubscribe: the cache forgot
  // it, so the plane has to send it again, which istiod only does for a name that it sees as new.
  if (of_type.opened && of_type.to_subscribe.erase(name) == 0) of_type.to_unsubscribe.insert(name);
  return true;
}

void Subscriptions::want_all(const std::string& type) {
  ++types_[type].all;
}

bool Subscriptions::unwant_all(const std::string& type) {
  OfType& of_type = types_[type];
  if (of_type.all == 0 || --of_type.all > 0) return false;
  of_type.drop_all = of_type.asked_all;
  return true;
}

bool Subscriptions::wants_all(const std::string& type) const {
  const auto found = types_.find(type);
  return found != types_.end() && found->second.all > 0;
}

bool Subscriptions::wants_any(const std::string& type) const {
  const auto found = types_.find(type);
  return found != types_.end() && (found->second.all > 0 || !found->second.names.empty());
}

bool Subscriptions::wants_name(const std::string& type, const std::string& name) const {
  const auto found = types_.find(type);
  return found != types_.end() && found->second.names.contains(name);
}

std::unordered_set<std::string> Subscriptions::names(const std::string& type) const {
  std::unordered_set<std::string> out;
  if (const auto found = types_.find(type); found != types_.end()) {
    for (const auto& [name, count] : found->second.names) out.insert(name);
  }
  return out;
}

bool Subscriptions::is_just(const std::string& type, bool all, std::size_t names) const {
  const auto found = types_.find(type);
  return found != types_.end() && (found->second.all > 0) == all && found->second.names.size() == names;
}

void Subscriptions::new_stream() {
  for (auto& [type, of_type] : types_) {
    of_type.opened = false;
    of_type.asked_all = false;
    of_type.drop_all = false;
    of_type.to_subscribe.clear();
    of_type.to_unsubscribe.clear();
  }
}

bool Subscriptions::opened(const std::string& type) const {
  const auto found = types_.find(type);
  return found != types_.end() && found->second.opened;
}

std::optional<Request> Subscriptions::next(const Cache& cache) {
  for (auto& [type, of_type] : types_) {
    if (auto request = of_type.opened ? change(type, of_type) : open(type, of_type, cache)) return request;
  }
  return std::nullopt;
}

std::optional<Request> Subscriptions::open(const std::string& type, OfType& of_type, const Cache& cache) {
  // An empty list on a type's first request means "all": a type that nobody wants stays unopened.
  if (of_type.all == 0 && of_type.names.empty()) return std::nullopt;
  Request request;
  request.type_url = type;
  for (const auto& [name, count] : of_type.names) request.subscribe.push_back(name);
  std::sort(request.subscribe.begin(), request.subscribe.end());
  if (of_type.all > 0 && !(request.subscribe.empty() && !named_type(type))) {
    request.subscribe.insert(request.subscribe.begin(), std::string(kWildcard));
  }
  request.initial_versions = cache.versions(type);
  // A snapshot may hold names that nobody asks for, and to tell a version is to subscribe.
  if (of_type.all == 0)
    std::erase_if(request.initial_versions, [&](const auto& known) { return !of_type.names.contains(known.first); });
  of_type.opened = true;
  of_type.asked_all = of_type.all > 0;
  return request;
}

std::optional<Request> Subscriptions::change(const std::string& type, OfType& of_type) {
  Request request;
  request.type_url = type;
  // Apart, and in this order: istiod applies the removals of one request after its additions.
  request.unsubscribe = take_sorted(of_type.to_unsubscribe);
  if (std::exchange(of_type.drop_all, false)) {
    request.unsubscribe.emplace_back(kWildcard);
    of_type.asked_all = false;
  }
  if (!request.unsubscribe.empty()) return request;
  request.subscribe = take_sorted(of_type.to_subscribe);
  if (!of_type.asked_all && of_type.all > 0) {
    request.subscribe.emplace_back(kWildcard);
    of_type.asked_all = true;
  }
  if (!request.subscribe.empty()) return request;
  return std::nullopt;
}

}  // namespace hawser::xds
