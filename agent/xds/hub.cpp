// SPDX-License-Identifier: Apache-2.0
#include "xds/hub.h"

#include <algorithm>
#include <utility>

namespace hawser::xds {

Hub::Hub(const std::vector<std::string>& eager) {
  for (const auto& type : eager) subscriptions_.want_all(type);
}

void Hub::open(Id id, std::string generation, Loop::Monotonic now) {
  downstreams_.emplace(id, Peer{std::move(generation), {}, {}});
  linger_until_ = now + kLinger;
}

void Hub::close(Id id, Loop::Monotonic now) {
  const auto found = downstreams_.find(id);
  if (found == downstreams_.end()) return;
  Downstream& downstream = found->second.downstream;
  // The plane shouldn't wait for an answer that nobody gives any more.
  for (const auto& [type, delivery] : downstream.take_deliveries()) answer_plane(type, delivery, std::nullopt);
  for (const auto& [type, interest] : downstream.interests()) {
    Lingering& lingering = lingering_[type];
    if (interest.all) {
      if (!std::exchange(lingering.all, true)) subscriptions_.want_all(type);
      subscriptions_.unwant_all(type);
    }
    for (const auto& name : interest.names) {
      if (lingering.names.insert(name).second) subscriptions_.want(type, name);
      subscriptions_.unwant(type, name);
    }
  }
  downstreams_.erase(found);
  linger_until_ = now + kLinger;
}

// What counts from now on is what this one has taken and refused.
void Hub::set_serving(std::string generation) {
  serving_generation_ = std::move(generation);
  const Refusals* of_it = refusals();
  if (of_it == nullptr) return;
  for (const auto& type : std::vector(rejected_.begin(), rejected_.end()))
    if (!of_it->outstanding(type)) note_rejection(type, false);
  for (const auto& [type, reason] : of_it->reasons()) note_rejection(type, true);
}

const Refusals* Hub::refusals() const {
  const auto id = serving();
  return id ? &downstreams_.at(*id).refusals : nullptr;
}

std::optional<Hub::Id> Hub::serving() const {
  for (auto peer = downstreams_.rbegin(); peer != downstreams_.rend(); ++peer) {
    const std::string& generation = peer->second.generation;
    if (!serving_generation_ || generation.empty() || generation == *serving_generation_) return peer->first;
  }
  return std::nullopt;
}

void Hub::set_fit(Id id, std::shared_ptr<Fit> fit) {
  if (const auto found = downstreams_.find(id); found != downstreams_.end())
    found->second.downstream.set_fit(std::move(fit));
}

Fit* Hub::fit(Id id) const {
  const auto found = downstreams_.find(id);
  return found == downstreams_.end() ? nullptr : found->second.downstream.fit();
}

Result<std::optional<Hub::Answer>> Hub::on_request(Id id, const Request& request, Loop::Monotonic now) {
  const auto found = downstreams_.find(id);
  if (found == downstreams_.end()) return std::optional<Answer>();
  if (!forwardable(request.type_url)) {
    return Error(Code::kInvalidArgument, "HWS-XDS-013",
                 "the proxy asked for " + request.type_url + ", which isn't a proxy's type",
                 "the proxy's bootstrap or a filter refers to a type that the agent keeps to itself");
  }
  Peer& peer = found->second;
  std::optional<Answer> out;
  if (!request.nonce.empty()) out = answer(id, peer, request);
  const auto change = peer.downstream.on_request(request, cache_, now);
  const bool refused = peer.refusals.outstanding(request.type_url);
  peer.refusals.forget(request.type_url, change);
  if (refused && !peer.refusals.outstanding(request.type_url) && serving() == id)
    note_rejection(request.type_url, false);
  apply(request.type_url, change);
  if (serves_snapshot_) answer_absent(peer, request.type_url);
  return out;
}

std::optional<Hub::Answer> Hub::answer(Id id, Peer& peer, const Request& request) {
  auto delivery = peer.downstream.take_delivery(request.type_url, request.nonce);
  if (!delivery) return std::nullopt;
  Answer out{request.type_url, !request.error_detail, serving() == id, {}, false};
  if (request.error_detail) out.message = error_message(*request.error_detail);
  peer.refusals.note(request.type_url, *delivery, out.accepted ? std::nullopt : std::optional(out.message));
  out.outstanding = peer.refusals.outstanding(request.type_url);
  if (out.serving) note_rejection(request.type_url, out.outstanding);
  if (out.accepted && out.serving) {
    const bool all = subscriptions_.wants_all(request.type_url);
    for (auto& item : delivery->resources) {
      if (all || subscriptions_.wants_name(request.type_url, item.name))
        cache_.accept(request.type_url, item.name, std::move(item.resource), item.place);
    }
    for (const auto& name : delivery->removed) cache_.accept(request.type_url, name, nullptr);
  }
  // Only the serving generation speaks for the host: a rejection by another one is no news for the plane.
  answer_plane(request.type_url, *delivery, out.serving ? request.error_detail : std::nullopt);
  return out;
}

void Hub::answer_plane(const std::string& type, const Delivery& delivery,
                       const std::optional<std::string>& error_detail) {
  if (!upstream_open_) return;
  if (delivery.from_plane) {
    if (delivery.nonce.empty() || delivery.stream != stream_) return;
    answered_nonces_[type] = delivery.nonce;
    queue_answer(type, delivery.nonce, error_detail);
  } else if (const auto last = answered_nonces_.find(type); error_detail && last != answered_nonces_.end()) {
    // The content came from the cache, and the response that had brought it is acknowledged: a report, no more.
    queue_answer(type, last->second, error_detail);
  }
}

void Hub::answer_agent(const std::string& type, const std::string& nonce,
                       const std::optional<std::string>& error_detail) {
  if (upstream_open_ && !nonce.empty()) queue_answer(type, nonce, error_detail);
}

void Hub::queue_answer(const std::string& type, const std::string& nonce,
                       const std::optional<std::string>& error_detail) {
  if (answers_.size() >= kMaxAnswers) {
    // Holding reads back instead could end in a deadlock with a plane that doesn't read before it has written.
    const auto older =
        std::find_if(answers_.begin(), answers_.end(), [&](const auto& a) { return a.type_url == type; });
    if (older != answers_.end()) answers_.erase(older);
  }
  Request request;
  request.type_url = type;
  request.nonce = nonce;
  request.error_detail = error_detail;
  answers_.push_back(std::move(request));
}

void Hub::apply(const std::string& type, const InterestChange& change) {
  for (const auto& name : change.added) subscriptions_.want(type, name);
  if (change.all_added) subscriptions_.want_all(type);
  for (const auto& name : change.removed) drop_name(type, name);
  if (change.all_removed) drop_all(type);
}

void Hub::drop_name(const std::string& type, const std::string& name) {
  if (!subscriptions_.unwant(type, name) || subscriptions_.wants_all(type)) return;
  cache_.forget(type, name, rejected_.empty() ? Cache::Accepted::kForgotten : Cache::Accepted::kKept);
}

void Hub::drop_all(const std::string& type) {
  if (subscriptions_.unwant_all(type)) cache_.forget_all_but(type, subscriptions_.names(type));
}

std::optional<Downstream::Message> Hub::next_for(Id id, Loop::Monotonic now) {
  const auto found = downstreams_.find(id);
  if (found == downstreams_.end()) return std::nullopt;
  Peer& peer = found->second;
  if (holds_.empty()) return peer.downstream.next(cache_, now);
  if (holds_.withholds_all(peer.generation)) return std::nullopt;
  const bool listeners_held = holds_.withholds(peer.generation, kListenerType);
  return peer.downstream.next(cache_, now, listeners_held ? kListenerType : std::string_view());
}

std::size_t Hub::streams_of(const std::string& generation) const {
  return static_cast<std::size_t>(std::count_if(downstreams_.begin(), downstreams_.end(), [&](const auto& peer) {
    return peer.second.generation == generation;
  }));
}

std::optional<Hub::Id> Hub::forward_to(const Envelope& envelope) const {
  const auto id = serving();
  // Without a nonce, an answer couldn't be told from a request.
  if (!id || envelope.nonce.empty() || !asked(envelope.type_url)) return std::nullopt;
  const Peer& peer = downstreams_.at(*id);
  if (holds_.withholds(peer.generation, envelope.type_url)) return std::nullopt;
  const auto wanted = peer.downstream.can_forward(envelope.type_url);
  // In sync: what the stream upstream asks for is exactly what this downstream asks for.
  if (!wanted || !subscriptions_.is_just(envelope.type_url, wanted->all, wanted->names)) return std::nullopt;
  return id;
}

void Hub::ingest(Response response, std::optional<Id> forwarded_to, Loop::Monotonic now) {
  const std::string type = response.envelope.type_url;
  if (!asked(type)) return;
  plane_answered_ = true;
  serves_snapshot_ = false;
  Delivery delivery{response.envelope.nonce, true, stream_, {}, {}, 0};
  const auto mark = [&](const std::string& name) {
    for (auto& [id, peer] : downstreams_) {
      // Also when nothing changed: the plane repeats a resource because somebody waits for it.
      if (id != forwarded_to) peer.downstream.mark(type, name);
    }
  };
  const bool all = subscriptions_.wants_all(type);
  delivery.resources.reserve(response.resources.size());
  for (auto& bytes : response.resources) {
    if (bytes.heartbeat || (!all && !subscriptions_.wants_name(type, bytes.name))) continue;
    auto [resource, place] = cache_.put(type, bytes);
    mark(bytes.name);
    delivery.bytes += resource->body.size();
    delivery.resources.push_back({std::move(bytes.name), std::move(resource), place});
  }
  for (auto& name : response.removed) {
    cache_.remove(type, name, subscriptions_.wants_name(type, name));
    mark(name);
    delivery.removed.push_back(std::move(name));
  }
  if (all && cache_.set_synced(type)) {
    for (auto& [id, peer] : downstreams_) peer.downstream.on_synced(type, now);
  }
  const auto receiver = forwarded_to ? downstreams_.find(*forwarded_to) : downstreams_.end();
  if (receiver == downstreams_.end()) {
    answer_plane(type, delivery, std::nullopt);
  } else {
    receiver->second.downstream.on_forwarded(type, std::move(delivery), now);
  }
}

void Hub::upstream_opened() {
  ++stream_;
  upstream_open_ = true;
  answers_.clear();
  answered_nonces_.clear();
  subscriptions_.new_stream();
  health_due_ = health_.has_value();
}

void Hub::upstream_closed() {
  upstream_open_ = false;
  answers_.clear();
}

void Hub::set_health(std::optional<std::string> error_detail) {
  Request request;
  request.type_url = std::string(kHealthType);
  request.error_detail = std::move(error_detail);
  health_ = std::move(request);
  health_due_ = true;
}

std::optional<Request> Hub::next_upstream() {
  if (!upstream_open_) return std::nullopt;
  if (!answers_.empty()) {
    Request out = std::move(answers_.front());
    answers_.pop_front();
    return out;
  }
  if (auto request = subscriptions_.next(cache_)) return request;
  if (health_due_ && subscriptions_.opened(std::string(kListenerType))) {
    health_due_ = false;
    return health_;
  }
  return std::nullopt;
}

std::optional<Loop::Monotonic> Hub::deadline() const {
  std::optional<Loop::Monotonic> out;
  const auto consider = [&](Loop::Monotonic when) { out = out ? std::min(*out, when) : when; };
  for (const auto& [id, peer] : downstreams_) {
    if (const auto when = peer.downstream.deadline()) consider(*when);
  }
  if (!downstreams_.empty() && (!lingering_.empty() || (!restored_.empty() && plane_answered_)))
    consider(linger_until_);
  if (const auto when = holds_.deadline()) consider(*when);
  return out;
}

void Hub::on_time(Loop::Monotonic now) {
  for (auto& [id, peer] : downstreams_) peer.downstream.on_time(cache_, now);
  if (!downstreams_.empty() && linger_until_ <= now) release_lingering();
}

void Hub::release_lingering() {
  for (const auto& [type, lingering] : std::exchange(lingering_, {})) {
    for (const auto& name : lingering.names) drop_name(type, name);
    if (lingering.all) drop_all(type);
  }
  if (plane_answered_) drop_unwanted_restored();
}

}  // namespace hawser::xds
