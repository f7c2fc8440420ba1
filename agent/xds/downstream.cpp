// SPDX-License-Identifier: Apache-2.0
#include "xds/downstream.h"

#include <algorithm>
#include <utility>

#include "xds/fit.h"

namespace hawser::xds {

InterestChange Downstream::on_request(const Request& request, const Cache& cache, Loop::Monotonic now) {
  const bool first = !types_.contains(request.type_url);
  OfType& of_type = types_[request.type_url];
  InterestChange change;
  const bool had_all = of_type.all;
  // What a proxy brought along may be newer than a snapshot: the plane will tell.
  const bool keeps = first && !request.initial_versions.empty() && cache.restored(request.type_url);
  if (first) {
    of_type.brought = !request.initial_versions.empty();
    for (const auto& [name, version] : request.initial_versions) {
      of_type.held.insert(name);
      of_type.came_with.insert(name);
    }
    if (request.subscribe.empty() && !named_type(request.type_url)) start_all(of_type, request.type_url, cache, now);
  }
  for (const auto& name : request.subscribe) {
    if (name == kWildcard) {
      start_all(of_type, request.type_url, cache, now);
      continue;
    }
    if (of_type.names.insert(name).second) change.added.push_back(name);
    if (keeps && request.initial_versions.contains(name)) continue;
    // Also when it's held already: asking again means that the answer is needed again.
    of_type.pending.insert(name);
  }
  for (const auto& name : request.unsubscribe) {
    if (name == kWildcard) {
      of_type.all = false;
      of_type.greet = false;
      std::erase_if(of_type.pending, [&](const auto& pending) { return !of_type.wants(pending); });
      std::erase_if(of_type.sent, [&](const auto& sent) { return !of_type.wants(sent.first); });
      continue;
    }
    if (of_type.names.erase(name) == 0) continue;
    // A name that was asked for and given up in one request is no change.
    if (std::erase(change.added, name) == 0) change.removed.push_back(name);
    if (of_type.all) {
      // Still part of "all" if it exists: the proxy can't know without an answer.
      of_type.pending.insert(name);
    } else {
      of_type.pending.erase(name);
      of_type.sent.erase(name);
    }
  }
  if (!of_type.all) {
    of_type.held.clear();
    of_type.held_until.reset();
  }
  change.all_added = of_type.all && !had_all;
  change.all_removed = !of_type.all && had_all;
  return change;
}

void Downstream::start_all(OfType& of_type, const std::string& type, const Cache& cache, Loop::Monotonic now) {
  of_type.all = true;
  of_type.greet = true;
  if (!of_type.held.empty() && cache.restored(type)) return;
  for (const auto& name : cache.names(type)) {
    of_type.pending.insert(name);
    of_type.held.erase(name);
  }
  if (!of_type.held.empty() && cache.synced(type)) of_type.held_until = now + kSettle;
}

std::optional<Delivery> Downstream::take_delivery(const std::string& type, const std::string& nonce) {
  const auto found = types_.find(type);
  if (found == types_.end()) return std::nullopt;
  auto& unanswered = found->second.unanswered;
  const auto delivery =
      std::find_if(unanswered.begin(), unanswered.end(), [&](const auto& d) { return d.nonce == nonce; });
  if (delivery == unanswered.end()) return std::nullopt;
  Delivery out = std::move(*delivery);
  unanswered.erase(delivery);
  found->second.unanswered_bytes -= out.bytes;
  return out;
}

bool Downstream::wants(const std::string& type, const std::string& name) const {
  const auto found = types_.find(type);
  return found != types_.end() && found->second.wants(name);
}

void Downstream::mark(const std::string& type, const std::string& name) {
  const auto found = types_.find(type);
  if (found != types_.end() && found->second.wants(name)) found->second.pending.insert(name);
}

void Downstream::on_synced(const std::string& type, Loop::Monotonic now) {
  const auto found = types_.find(type);
  if (found != types_.end() && found->second.all && !found->second.held.empty())
    found->second.held_until = now + kSettle;
}

void Downstream::on_restored(const std::string& type, const Cache& cache) {
  const auto found = types_.find(type);
  if (found == types_.end() || found->second.brought) return;
  for (const auto& name : cache.names(type)) {
    if (found->second.wants(name)) found->second.pending.insert(name);
  }
}

std::vector<std::string> Downstream::waiting(const std::string& type, const Cache& cache) const {
  std::vector<std::string> out;
  const auto found = types_.find(type);
  if (found == types_.end() || found->second.brought) return out;
  for (const auto& name : found->second.names) {
    if (cache.find(type, name) == nullptr && !cache.absent(type, name)) out.push_back(name);
  }
  return out;
}

bool Downstream::settled(const Cache& cache) const {
  return std::all_of(types_.begin(), types_.end(), [&](const auto& item) {
    const auto& [type, of_type] = item;
    if (of_type.greet || !of_type.pending.empty() || !of_type.unanswered.empty()) return false;
    return std::all_of(of_type.names.begin(), of_type.names.end(), [&, &url = type](const auto& name) {
      return cache.find(url, name) != nullptr || cache.absent(url, name);
    });
  });
}

std::optional<Downstream::Wanted> Downstream::can_forward(const std::string& type) const {
  const auto found = types_.find(type);
  if (found == types_.end()) return std::nullopt;
  const OfType& of_type = found->second;
  if (!of_type.pending.empty() || !of_type.held.empty() || of_type.full()) return std::nullopt;
  return Wanted{of_type.all, of_type.names.size()};
}

void Downstream::on_forwarded(const std::string& type, Delivery delivery, Loop::Monotonic now) {
  OfType& of_type = types_[type];
  of_type.greet = false;
  note_sent(type, of_type, delivery, now);
  await_answer(of_type, std::move(delivery));
}

void Downstream::await_answer(OfType& of_type, Delivery delivery) {
  of_type.unanswered_bytes += delivery.bytes;
  of_type.unanswered.push_back(std::move(delivery));
}

void Downstream::note_sent(const std::string& type, OfType& of_type, Delivery& delivery, Loop::Monotonic now) {
  ++serial_;
  // Only what was sent before can be replayed.
  const auto endpoints = type == kClusterType ? types_.find(kEndpointType) : types_.end();
  const bool replayable = endpoints != types_.end() && !endpoints->second.sent.empty();
  ChangedClusters changed{now + kReplayAfter, serial_, {}};
  for (auto& item : delivery.resources) {
    if (!of_type.wants(item.name)) continue;
    const auto [slot, added] = of_type.sent.try_emplace(item.name);
    item.first = added && of_type.came_with.erase(item.name) == 0;
    if (replayable && (added || slot->second.id != item.resource->id)) changed.names.push_back(item.name);
    slot->second = Sent{item.resource->id, serial_};
  }
  for (const auto& name : delivery.removed) {
    of_type.sent.erase(name);
    of_type.came_with.erase(name);
  }
  if (!changed.names.empty()) changed_clusters_.push_back(std::move(changed));
}

std::optional<Downstream::Message> Downstream::next(const Cache& cache, Loop::Monotonic now,
                                                    std::string_view withheld) {
  for (auto& [type, of_type] : types_) {
    if (of_type.full() || type == withheld) continue;
    if (auto message = build(type, of_type, cache, now)) return message;
  }
  return std::nullopt;
}

void Downstream::add(ResponseBuilder& builder, const std::string& type, const Resource& resource) const {
  auto own = fit_ ? fit_->resource(type, resource.body) : std::nullopt;
  if (!own) return builder.add(resource.hash_hex(), resource.body);
  // The version is a hash of what this proxy holds.
  const Resource changed{{}, 0, std::move(*own)};
  builder.add(changed.hash_hex(), changed.body);
}

std::optional<Downstream::Message> Downstream::build(const std::string& type, OfType& of_type, const Cache& cache,
                                                     Loop::Monotonic now) {
  const bool greet = of_type.greet && cache.synced(type);
  if (of_type.pending.empty() && !greet) return std::nullopt;
  ResponseBuilder builder(type);
  Delivery delivery;
  while (!of_type.pending.empty()) {
    const std::string& name = *of_type.pending.begin();
    if (const ResourcePtr resource = cache.find(type, name)) {
      const bool anything = !delivery.resources.empty() || !delivery.removed.empty();
      if (anything && builder.size() + resource->body.size() > kChunkBytes) break;
      add(builder, type, *resource);
      delivery.resources.push_back({name, resource, {}});
      delivery.bytes += resource->body.size();
    } else if (cache.absent(type, name) || (of_type.all && !of_type.names.contains(name))) {
      builder.remove(name);
      delivery.removed.push_back(name);
    }
    // Else the plane hasn't said anything about it yet; its answer will mark the name again.
    of_type.pending.erase(of_type.pending.begin());
  }
  if (delivery.resources.empty() && delivery.removed.empty() && !greet) return std::nullopt;
  if (greet && of_type.pending.empty()) of_type.greet = false;
  note_sent(type, of_type, delivery, now);
  delivery.nonce = "h" + std::to_string(serial_);
  Message message{type, builder.finish(delivery.nonce)};
  await_answer(of_type, std::move(delivery));
  return message;
}

std::optional<Loop::Monotonic> Downstream::deadline() const {
  std::optional<Loop::Monotonic> out;
  const auto consider = [&](Loop::Monotonic when) { out = out ? std::min(*out, when) : when; };
  for (const auto& changed : changed_clusters_) consider(changed.due);
  for (const auto& [type, of_type] : types_) {
    if (of_type.held_until) consider(*of_type.held_until);
  }
  return out;
}

void Downstream::on_time(const Cache& cache, Loop::Monotonic now) {
  for (auto& [type, of_type] : types_) {
    if (!of_type.held_until || *of_type.held_until > now) continue;
    for (const auto& name : of_type.held) {
      if (cache.find(type, name) == nullptr) of_type.pending.insert(name);
    }
    of_type.held.clear();
    of_type.held_until.reset();
  }
  std::erase_if(changed_clusters_, [&](const ChangedClusters& changed) {
    if (changed.due > now) return false;
    replay_endpoints(changed);
    return true;
  });
}

// A cluster's endpoints usually have its name. Where none of that name is asked for, the cluster may have none at all
// (static, DNS) or ask under another name, which only the cluster's body would tell: then all that is older is
// replayed.
void Downstream::replay_endpoints(const ChangedClusters& changed) {
  const auto found = types_.find(kEndpointType);
  if (found == types_.end()) return;
  OfType& endpoints = found->second;
  const auto replay = [&](const std::string& name) {
    const auto sent = endpoints.sent.find(name);
    if (sent != endpoints.sent.end() && sent->second.serial < changed.serial) endpoints.pending.insert(name);
  };
  bool other_name = false;
  for (const auto& name : changed.names) {
    if (endpoints.wants(name)) {
      replay(name);
    } else {
      other_name = true;
    }
  }
  if (!other_name) return;
  for (const auto& [name, sent] : endpoints.sent) replay(name);
}

std::map<std::string, Downstream::Interest, TypeOrder> Downstream::interests() const {
  std::map<std::string, Interest, TypeOrder> out;
  for (const auto& [type, of_type] : types_) {
    out.emplace(type, Interest{of_type.all, {of_type.names.begin(), of_type.names.end()}});
  }
  return out;
}

std::vector<std::pair<std::string, Delivery>> Downstream::take_deliveries() {
  std::vector<std::pair<std::string, Delivery>> out;
  for (auto& [type, of_type] : types_) {
    for (auto& delivery : of_type.unanswered) out.emplace_back(type, std::move(delivery));
    of_type.unanswered.clear();
    of_type.unanswered_bytes = 0;
  }
  return out;
}

}  // namespace hawser::xds
