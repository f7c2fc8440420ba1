// SPDX-License-Identifier: Apache-2.0
// Random play of a plane, the hub and two proxies against a reference: whenever everything has come to rest, each proxy
// holds exactly what it subscribed to, no cluster waits for endpoints that exist, the plane was asked for no more than
// somebody wants, and the cache holds no more. HAWSER_SEED=N plays one seed again.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <random>

#include "simulated.h"

namespace hawser::xds::test {
namespace {

using Random = std::mt19937_64;

class Play {
 public:
  explicit Play(std::uint64_t seed) : random_(seed), plane_(world_, seed % 2 == 0) {
    hub_.set_serving("f1e0");
    upstream(true);
  }

  void step() {
    switch (pick(18)) {
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
      case 11:
        if (connected_) plane_.say_nothing(kTypes[pick(5)], a_name(), pick(2) == 0);
        break;
      case 12:
        change_workloads();
        break;
      case 13:
        answer_again();
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
    const std::string& type = kTypes[pick(5)];
    const std::string name = a_name();
    if (pick(4) == 0) {
      if (world_[type].erase(name) == 0) return;
    } else {
      world_[type][name] = "body" + std::to_string(++serial_);
    }
    if (connected_) plane_.changed(type, name);
  }
  void repeat() {
    const std::string& type = kTypes[pick(5)];
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
    proxy.drop(type, name);
    send(proxy, unsubscribe(type, {name}));
  }
  // A type that may be wanted as a whole, by name, both ways, or not at all.
  void change_workloads() {
    SimulatedProxy& proxy = proxies_[pick(2)];
    if (!proxy.open) return;
    const std::string name = pick(3) == 0 ? std::string(kWildcard) : a_name();
    const bool first = !proxy.opened.contains(kWorkloads);
    const bool wanted = name == kWildcard ? proxy.all[kWorkloads] : proxy.names[kWorkloads].contains(name);
    if (!wanted) {
      proxy.opened.insert(kWorkloads);
      if (name == kWildcard) {
        proxy.all[kWorkloads] = true;
      } else {
        proxy.names[kWorkloads].insert(name);
      }
      // The first request of a type may say "all" by an empty list.
      send(proxy, first && name == kWildcard && pick(2) == 0 ? subscribe(kWorkloads) : subscribe(kWorkloads, {name}));
    } else if (name == kWildcard) {
      proxy.all[kWorkloads] = false;
      proxy.drop_all_but_named(kWorkloads);
      send(proxy, unsubscribe(kWorkloads, {name}));
    } else {
      proxy.names[kWorkloads].erase(name);
      if (!proxy.all[kWorkloads]) proxy.drop(kWorkloads, name);
      send(proxy, unsubscribe(kWorkloads, {name}));
    }
  }
  // A nonce that was answered before, which isn't an answer any more.
  void answer_again() {
    SimulatedProxy& proxy = proxies_[pick(2)];
    if (proxy.open && proxy.answered) send(proxy, *proxy.answered);
  }
  void send(SimulatedProxy& proxy, const Request& request) { ASSERT_TRUE(hub_.on_request(proxy.id, request, now_)); }

  void reopen(SimulatedProxy& proxy) {
    if (std::exchange(proxy.open, false)) {
      hub_.close(proxy.id, now_);
      proxy.in_flight.reset();
      proxy.answered.reset();
      proxy.opened.clear();
      if (pick(2) == 0) return;
    }
    if (pick(3) == 0) {  // a fresh process: it holds nothing
      proxy.names.clear();
      proxy.all[kWorkloads] = false;
      proxy.held.clear();
      proxy.versions.clear();
      proxy.warming.clear();
    }
    proxy.id = ++ids_;
    proxy.open = true;
    hub_.open(proxy.id, &proxy == &proxies_[0] ? "f1e0" : "f2e0", now_);
    for (const auto& type : kTypes) {
      if (type == kWorkloads && !proxy.wants_any(type)) continue;
      proxy.opened.insert(type);
      Request first = subscribe(type, {proxy.names[type].begin(), proxy.names[type].end()});
      if (type == kWorkloads && proxy.all[type] && !first.subscribe.empty()) first.subscribe.emplace_back(kWildcard);
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
      auto message = hub_.next_for(proxy.id, now_);
      if (!message) continue;
      for (const auto& name : names_in(decoded(message->bytes)))
        EXPECT_TRUE(proxy.wants(message->type, name)) << message->type << " " << name << " is sent unasked";
      proxy.in_flight = std::move(message->bytes);
    }
  }
  bool deliver(SimulatedProxy& proxy) {
    pump();
    if (!proxy.open || !proxy.in_flight) return false;
    const std::string bytes = std::move(*proxy.in_flight);
    proxy.in_flight.reset();
    proxy.take(bytes);
    const auto message = decoded(bytes);
    const bool rejected = pick(10) == 0;
    if (!rejected && hub_.serving() == proxy.id) note_accepted(message);
    proxy.answered =
        rejected ? nack(message.type_url(), message.nonce(), "no") : ack(message.type_url(), message.nonce());
    send(proxy, *proxy.answered);
    pump();
    return true;
  }
  void note_accepted(const DeltaDiscoveryResponse& message) {
    auto& accepted = accepted_[message.type_url()];
    for (const auto& resource : message.resources()) {
      if (!resource.resource().empty()) accepted[resource.name()] = resource.resource();
    }
    for (const auto& name : message.removed_resources()) accepted.erase(name);
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
    for (auto& proxy : proxies_) check_holds(proxy);
    for (const auto& type : kTypes) check_wanted(type);
    ASSERT_EQ(plane_.unanswered(), 0u);
  }
  void check_holds(SimulatedProxy& proxy) {
    for (const auto& type : kTypes) {
      std::map<std::string, std::string> expected = world_[type];
      std::erase_if(expected, [&](const auto& entry) { return !proxy.wants(type, entry.first); });
      ASSERT_EQ(proxy.held[type], expected) << type << " of proxy " << proxy.id;
    }
    for (const auto& name : proxy.warming)
      ASSERT_FALSE(world_[kEndpoints].contains(name)) << "cluster " << name << " warms for ever";
  }
  void check_wanted(const std::string& type) {
    std::set<std::string> wanted;
    bool all = type == kClusters || type == kListeners;
    for (auto& proxy : proxies_) {
      wanted.insert(proxy.names[type].begin(), proxy.names[type].end());
      all = all || proxy.all[type];
    }
    ASSERT_EQ(plane_.names(type), wanted) << "the union of " << type;
    ASSERT_EQ(plane_.all(type), all) << "the union of " << type;
    for (const auto& name : hub_.cache().names(type)) {
      ASSERT_TRUE(all || wanted.contains(name)) << type << " " << name << " is kept for nobody";
      ASSERT_EQ(world_[type].count(name), 1u) << type << " " << name << " is kept and doesn't exist";
      const ResourcePtr accepted = hub_.cache().accepted(type, name);
      if (accepted == nullptr) continue;
      ++accepted_seen_;
      ASSERT_TRUE(accepted_[type].contains(name) && accepted->body.find(accepted_[type][name]) != std::string::npos)
          << type << " " << name << " counts as accepted, and no serving proxy did so";
    }
  }
  SimulatedProxy* by_id(Hub::Id id) {
    for (auto& proxy : proxies_) {
      if (proxy.open && proxy.id == id) return &proxy;
    }
    return nullptr;
  }

 public:
  std::size_t forwarded() const { return forwarded_; }
  std::size_t accepted_seen() const { return accepted_seen_; }

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
  std::size_t accepted_seen_ = 0;
  World accepted_;  // by whichever proxy was serving then
};

struct Seeds {
  std::uint64_t first = 1;
  std::uint64_t last = 100;
};

Seeds seeds() {
  const char* chosen = std::getenv("HAWSER_SEED");
  if (chosen == nullptr) return {};
  const std::uint64_t seed = std::strtoull(chosen, nullptr, 10);
  return {seed, seed};
}

constexpr int kSteps = 1'500;

bool play_one(std::uint64_t seed, std::size_t& forwarded, std::size_t& accepted) {
  Play play(seed);
  for (int step = 0; step < kSteps; ++step) {
    play.step();
    if (step % 100 == 99) play.settle_and_check();
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "step " << step << "; to repeat: HAWSER_SEED=" << seed;
      return false;
    }
  }
  forwarded += play.forwarded();
  accepted += play.accepted_seen();
  return true;
}

TEST(HubRandom, EveryProxyEndsUpWithExactlyWhatItSubscribedTo) {
  const Seeds range = seeds();
  std::printf("seeds %llu to %llu, %d steps each\n", static_cast<unsigned long long>(range.first),
              static_cast<unsigned long long>(range.last), kSteps);
  std::size_t forwarded = 0;
  std::size_t accepted = 0;
  for (std::uint64_t seed = range.first; seed <= range.last; ++seed) {
    if (!play_one(seed, forwarded, accepted)) return;
  }
  EXPECT_GT(forwarded, 10 * (range.last - range.first + 1)) << "the fast path must be part of the play";
  EXPECT_GT(accepted, 10 * (range.last - range.first + 1)) << "so must what was accepted";
}

}  // namespace
}  // namespace hawser::xds::test
