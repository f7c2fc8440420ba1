// SPDX-License-Identifier: Apache-2.0
// Random play of a plane, the hub and two proxies against a reference: whenever everything has come to rest, each proxy
// holds exactly what it subscribed to, and no cluster waits for endpoints that exist.
#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <random>
#include <set>

#include "messages.h"
#include "xds/hub.h"

namespace hawser::xds::test {
namespace {

const std::string kClusters(kClusterType);
const std::string kEndpoints(kEndpointType);
const std::string kListeners(kListenerType);
const std::string kRoutes(kRouteType);
const std::vector<std::string> kTypes = {kClusters, kEndpoints, kListeners, kRoutes};

using Random = std::mt19937_64;
using World = std::map<std::string, std::map<std::string, std::string>>;  // type → name → body

// A control plane as the protocol describes it; `versions` chooses between one that skips what the client has
// (go-control-plane) and one that sends everything again under empty versions (istiod).
class SimulatedPlane {
 public:
  SimulatedPlane(World& world, bool versions) : world_(world), versions_(versions) {}

  void connect() {
    types_.clear();
    out_.clear();
  }
  void on_request(const Request& request) {
    OfType* of_type = nullptr;
    std::set<std::string> send;
    std::vector<std::string> removed;
    const auto found = types_.find(request.type_url);
    if (found == types_.end()) {
      of_type = &types_[request.type_url];
      of_type->all = request.subscribe.empty();
      EXPECT_FALSE(named_type(request.type_url) && request.subscribe.empty()) << "a named type opened as a wildcard";
      for (const auto& [name, version] : request.initial_versions) {
        if (world_[request.type_url].contains(name)) continue;
        removed.push_back(name);
      }
    } else {
      of_type = &found->second;
      if (!request.nonce.empty()) {
        EXPECT_EQ(nonces_.count(request.nonce), 1u) << "a nonce of another stream or a second answer";
        nonces_.erase(request.nonce);
        EXPECT_TRUE(request.subscribe.empty() && request.unsubscribe.empty());
        return;
      }
    }
    const bool first = found == types_.end();
    if (first && of_type->all) {
      for (const auto& [name, body] : world_[request.type_url]) send.insert(name);
    }
    for (const auto& name : request.subscribe) {
      if (name == kWildcard) {
        of_type->all = true;
        for (const auto& [known, body] : world_[request.type_url]) send.insert(known);
        continue;
      }
      // As istiod: a name that's subscribed already isn't news.
      if (!of_type->names.insert(name).second) continue;
      if (world_[request.type_url].contains(name)) {
        send.insert(name);
      } else {
        removed.push_back(name);
      }
    }
    for (const auto& name : request.unsubscribe) of_type->names.erase(name);
    if (versions_) {
      for (const auto& [name, version] : request.initial_versions) {
        if (send.contains(name) && version == "v" + world_[request.type_url][name]) send.erase(name);
      }
    }
    if (first || !send.empty() || !removed.empty()) push(request.type_url, send, removed);
  }
  void changed(const std::string& type, const std::string& name) {
    const auto found = types_.find(type);
    if (found == types_.end() || !(found->second.all || found->second.names.contains(name))) return;
    if (world_[type].contains(name)) {
      push(type, {name}, {});
    } else {
      push(type, {}, {name});
    }
  }
  std::optional<std::string> take() {
    if (out_.empty()) return std::nullopt;
    std::string bytes = std::move(out_.front());
    out_.pop_front();
    return bytes;
  }
  bool quiet() const { return out_.empty(); }
  std::set<std::string> names(const std::string& type) {
    const auto found = types_.find(type);
    return found == types_.end() ? std::set<std::string>{} : found->second.names;
  }
  void new_stream_nonces() { nonces_.clear(); }
  std::size_t unanswered() const { return nonces_.size(); }

 private:
  struct OfType {
    bool all = false;
    std::set<std::string> names;
  };
  void push(const std::string& type, const std::set<std::string>& send, const std::vector<std::string>& removed) {
    std::map<std::string, std::string> resources;
    for (const auto& name : send) resources[name] = world_[type][name];
    const std::string nonce = "n" + std::to_string(++serial_);
    nonces_.insert(nonce);
    out_.push_back(plane_response(type, nonce, resources, removed, versions_ ? "v" : ""));
  }

  World& world_;
  bool versions_;
  std::map<std::string, OfType> types_;
  std::deque<std::string> out_;
  std::set<std::string> nonces_;
  std::uint64_t serial_ = 0;
};

// A proxy as far as the protocol goes.
struct SimulatedProxy {
  Hub::Id id = 0;
  bool open = false;
  std::map<std::string, std::set<std::string>> names;              // subscribed by name
  std::map<std::string, std::map<std::string, std::string>> held;  // type → name → body
  std::map<std::string, std::map<std::string, std::string>> versions;
  std::set<std::string> warming;  // clusters that wait for endpoints
  std::optional<std::string> in_flight;

  void take(const std::string& bytes) {
    const auto message = decoded(bytes);
    const std::string type = message.type_url();
    for (const auto& resource : message.resources()) {
      const std::string& body = resource.resource();
      const bool all = type == kClusters || type == kListeners;
      if (!all && !names[type].contains(resource.name())) continue;
      std::string& slot = held[type][resource.name()];
      if (type == kClusters && slot != body && names[kEndpoints].contains(resource.name()))
        warming.insert(resource.name());
      if (type == kEndpoints) warming.erase(resource.name());
      slot = body;
      versions[type][resource.name()] = resource.version();
    }
    for (const auto& name : message.removed_resources()) {
      held[type].erase(name);
      versions[type].erase(name);
      if (type == kClusters) warming.erase(name);
    }
  }
};

class Play {
 public:
  explicit Play(std::uint64_t seed) : random_(seed), plane_(world_, seed % 2 == 0) {
    hub_.set_serving("f1e0");
    upstream(true);
  }

  void step() {
    switch (pick(14)) {
      case 0:
      case 1:
      case 2:
        change();
        break;
      case 3:
        repeat();
        break;
      case 4:
      case 5:
        subscribe_some();
        break;
      case 6:
        unsubscribe_some();
        break;
      case 7:
        if (pick(8) == 0) reopen(proxies_[pick(2)]);
        break;
      case 8:
        if (pick(10) == 0) upstream(!connected_);
        break;
      case 9:
        now_ += std::chrono::milliseconds(pick(400));
        hub_.on_time(now_);
        break;
      case 10:
        if (pick(20) == 0) hub_.set_serving(pick(2) == 0 ? "f1e0" : "f2e0");
        break;
      default:
        move_something();
        break;
    }
  }

  void settle_and_check() {
    if (!connected_) upstream(true);
    for (auto& proxy : proxies_) {
      if (!proxy.open) reopen(proxy);
    }
    for (int round = 0; round < 3; ++round) {
      drain();
      now_ += std::chrono::seconds(2);
      hub_.on_time(now_);
    }
    drain();
    now_ += Hub::kLinger;
    hub_.on_time(now_);
    drain();
    check();
  }

 private:
  std::size_t pick(std::size_t below) { return random_() % below; }
  std::string a_name() { return "r" + std::to_string(pick(8)); }

  void change() {
    const std::string& type = kTypes[pick(4)];
    const std::string name = a_name();
    if (pick(4) == 0) {
      if (world_[type].erase(name) == 0) return;
    } else {
      world_[type][name] = "body" + std::to_string(++serial_);
    }
    if (connected_) plane_.changed(type, name);
  }
  void repeat() {
    const std::string& type = kTypes[pick(4)];
    if (connected_ && !world_[type].empty()) plane_.changed(type, world_[type].begin()->first);
  }

  void subscribe_some() {
    SimulatedProxy& proxy = proxies_[pick(2)];
    if (!proxy.open) return;
    const std::string& type = pick(2) == 0 ? kEndpoints : kRoutes;
    const std::string name = a_name();
    proxy.names[type].insert(name);
    send(proxy, subscribe(type, {name}));
  }
  void unsubscribe_some() {
    SimulatedProxy& proxy = proxies_[pick(2)];
    const std::string& type = pick(2) == 0 ? kEndpoints : kRoutes;
    if (!proxy.open || proxy.names[type].empty()) return;
    const std::string name = *proxy.names[type].begin();
    proxy.names[type].erase(name);
    proxy.held[type].erase(name);
    proxy.versions[type].erase(name);
    if (type == kEndpoints) proxy.warming.erase(name);
    send(proxy, unsubscribe(type, {name}));
  }
  void send(SimulatedProxy& proxy, const Request& request) { ASSERT_TRUE(hub_.on_request(proxy.id, request, now_)); }

  void reopen(SimulatedProxy& proxy) {
    if (std::exchange(proxy.open, false)) {
      hub_.close(proxy.id, now_);
      proxy.in_flight.reset();
      if (pick(2) == 0) return;
    }
    if (pick(3) == 0) {  // a fresh process: it holds nothing
      proxy.names.clear();
      proxy.held.clear();
      proxy.versions.clear();
      proxy.warming.clear();
    }
    proxy.id = ++ids_;
    proxy.open = true;
    hub_.open(proxy.id, &proxy == &proxies_[0] ? "f1e0" : "f2e0", now_);
    for (const auto& type : kTypes) {
      Request first = subscribe(type, {proxy.names[type].begin(), proxy.names[type].end()});
      first.initial_versions = proxy.versions[type];
      send(proxy, first);
    }
  }

  void upstream(bool connect) {
    connected_ = connect;
    plane_.connect();
    plane_.new_stream_nonces();
    if (connect) {
      hub_.upstream_opened();
    } else {
      hub_.upstream_closed();
    }
  }

  bool plane_to_hub() {
    if (!connected_) return false;
    auto bytes = plane_.take();
    if (!bytes) return false;
    Response response = parsed(*bytes);
    auto target = hub_.forward_to(response.envelope);
    if (target) {
      auto* proxy = by_id(*target);
      if (proxy == nullptr || proxy->in_flight) {
        target.reset();
      } else {
        proxy->in_flight = *bytes;
        ++forwarded_;
      }
    }
    hub_.ingest(std::move(response), target, now_);
    // The core pumps after each event, so an idle proxy is owed nothing when the next message comes.
    pump();
    return true;
  }
  bool hub_to_plane() {
    const auto request = connected_ ? hub_.next_upstream() : std::nullopt;
    if (!request) return false;
    plane_.on_request(*request);
    return true;
  }
  void pump() {
    for (auto& proxy : proxies_) {
      if (!proxy.open || proxy.in_flight) continue;
      if (auto message = hub_.next_for(proxy.id, now_)) proxy.in_flight = std::move(message->bytes);
    }
  }
  bool deliver(SimulatedProxy& proxy) {
    pump();
    if (!proxy.open || !proxy.in_flight) return false;
    const std::string bytes = std::move(*proxy.in_flight);
    proxy.in_flight.reset();
    proxy.take(bytes);
    const auto message = decoded(bytes);
    send(proxy,
         pick(10) == 0 ? nack(message.type_url(), message.nonce(), "no") : ack(message.type_url(), message.nonce()));
    pump();
    return true;
  }
  void move_something() {
    switch (pick(4)) {
      case 0:
        plane_to_hub();
        break;
      case 1:
        hub_to_plane();
        break;
      default:
        deliver(proxies_[pick(2)]);
        break;
    }
  }
  void drain() {
    for (int i = 0; i < 100'000; ++i) {
      bool moved = plane_to_hub();
      moved |= hub_to_plane();
      for (auto& proxy : proxies_) moved |= deliver(proxy);
      if (!moved) return;
    }
    FAIL() << "it never comes to rest";
  }

  void check() {
    for (const auto& proxy : proxies_) {
      for (const auto& type : kTypes) {
        std::map<std::string, std::string> expected = world_[type];
        if (named_type(type)) {
          std::erase_if(expected, [&](const auto& entry) {
            return !proxy.names.contains(type) || !proxy.names.at(type).contains(entry.first);
          });
        }
        const auto held = proxy.held.find(type);
        ASSERT_EQ(held == proxy.held.end() ? expected_empty_ : held->second, expected)
            << type << " of proxy " << proxy.id;
      }
      for (const auto& name : proxy.warming)
        ASSERT_FALSE(world_[kEndpoints].contains(name)) << "cluster " << name << " warms for ever";
    }
    for (const auto& type : {kEndpoints, kRoutes}) {
      std::set<std::string> wanted;
      for (const auto& proxy : proxies_) {
        if (const auto found = proxy.names.find(type); found != proxy.names.end())
          wanted.insert(found->second.begin(), found->second.end());
      }
      ASSERT_EQ(plane_.names(type), wanted) << "the union of " << type;
    }
    ASSERT_EQ(plane_.unanswered(), 0u);
  }
  SimulatedProxy* by_id(Hub::Id id) {
    for (auto& proxy : proxies_) {
      if (proxy.open && proxy.id == id) return &proxy;
    }
    return nullptr;
  }

 public:
  std::size_t forwarded() const { return forwarded_; }

 private:
  Random random_;
  World world_;
  SimulatedPlane plane_;
  Hub hub_{{kClusters, kListeners}};
  std::array<SimulatedProxy, 2> proxies_;
  Loop::Monotonic now_{};
  bool connected_ = false;
  Hub::Id ids_ = 0;
  std::uint64_t serial_ = 0;
  std::size_t forwarded_ = 0;
  const std::map<std::string, std::string> expected_empty_;
};

TEST(HubRandom, EveryProxyEndsUpWithExactlyWhatItSubscribedTo) {
  std::size_t forwarded = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Play play(seed);
    for (int step = 0; step < 1'500; ++step) {
      play.step();
      if (step % 100 == 99) play.settle_and_check();
      if (testing::Test::HasFailure()) {
        ADD_FAILURE() << "seed " << seed << ", step " << step;
        return;
      }
    }
    forwarded += play.forwarded();
  }
  EXPECT_GT(forwarded, 500u) << "the fast path must be part of the play";
}

}  // namespace
}  // namespace hawser::xds::test
