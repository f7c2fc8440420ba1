// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "messages.h"
#include "xds/hub.h"

// A control plane and a proxy as far as the protocol goes, for random play with the hub between them.
namespace hawser::xds::test {

inline const std::string kWorkloads(kWorkloadType);  // asked for as a whole, by name, both, or not at all
inline const std::vector<std::string> kTypes = {kClusters, kEndpoints, kListeners, kRoutes, kWorkloads};

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
        EXPECT_TRUE(request.subscribe.empty() && request.unsubscribe.empty());
        // A rejection of what came from the cache refers to a response that was answered before.
        if (request.error_detail && answered_.contains(request.nonce)) return;
        EXPECT_EQ(nonces_.count(request.nonce), 1u) << "a nonce of another stream or a second answer";
        nonces_.erase(request.nonce);
        answered_.insert(request.nonce);
        return;
      }
    }
    const bool first = found == types_.end();
    if (first && of_type->all) {
      for (const auto& [name, body] : world_[request.type_url]) send.insert(name);
    }
    for (const auto& name : request.subscribe) {
      if (name == kWildcard) {
        if (std::exchange(of_type->all, true)) continue;
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
    for (const auto& name : request.unsubscribe) {
      if (name == kWildcard) {
        of_type->all = false;
      } else {
        of_type->names.erase(name);
      }
    }
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
  // Only renews a TTL, or belongs to nobody: neither changes what anybody holds.
  void say_nothing(const std::string& type, const std::string& name, bool heartbeat) {
    if (!types_.contains(type)) return;
    if (heartbeat) {
      push_bytes(type, {{name, ""}}, {});
    } else if (named_type(type) && !types_[type].names.contains(name)) {
      push_bytes(type, {{name, "unasked"}}, {});
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
  bool all(const std::string& type) {
    const auto found = types_.find(type);
    return found != types_.end() && found->second.all;
  }
  void new_stream_nonces() {
    nonces_.clear();
    answered_.clear();
  }
  std::size_t unanswered() const { return nonces_.size(); }

 private:
  struct OfType {
    bool all = false;
    std::set<std::string> names;
  };
  void push(const std::string& type, const std::set<std::string>& send, const std::vector<std::string>& removed) {
    std::map<std::string, std::string> resources;
    for (const auto& name : send) resources[name] = world_[type][name];
    push_bytes(type, resources, removed);
  }
  void push_bytes(const std::string& type, const std::map<std::string, std::string>& resources,
                  const std::vector<std::string>& removed) {
    const std::string nonce = "n" + std::to_string(++serial_);
    nonces_.insert(nonce);
    out_.push_back(plane_response(type, nonce, resources, removed, versions_ ? "v" : ""));
  }

  World& world_;
  bool versions_;
  std::map<std::string, OfType> types_;
  std::deque<std::string> out_;
  std::set<std::string> nonces_;
  std::set<std::string> answered_;
  std::uint64_t serial_ = 0;
};

// A proxy as far as the protocol goes.
struct SimulatedProxy {
  Hub::Id id = 0;
  bool open = false;
  std::map<std::string, bool> all = {{kClusters, true}, {kListeners, true}};
  std::map<std::string, std::set<std::string>> names;              // subscribed by name
  std::map<std::string, std::map<std::string, std::string>> held;  // type → name → body
  std::map<std::string, std::map<std::string, std::string>> versions;
  std::set<std::string> warming;    // clusters that wait for endpoints
  std::set<std::string> opened;     // types that this stream has asked for
  std::optional<Request> answered;  // the last answer that it gave
  std::optional<std::string> in_flight;

  bool wants(const std::string& type, const std::string& name) { return all[type] || names[type].contains(name); }
  bool wants_any(const std::string& type) { return all[type] || !names[type].empty(); }

  void take(const std::string& bytes) {
    const auto message = decoded(bytes);
    const std::string type = message.type_url();
    for (const auto& resource : message.resources()) {
      const std::string& body = resource.resource();
      if (body.empty() || !wants(type, resource.name())) continue;
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
  void drop(const std::string& type, const std::string& name) {
    held[type].erase(name);
    versions[type].erase(name);
    if (type == kEndpoints) warming.erase(name);
  }
  void drop_all_but_named(const std::string& type) {
    for (const auto& [name, body] : std::map(held[type])) {
      if (!names[type].contains(name)) drop(type, name);
    }
  }
};

}  // namespace hawser::xds::test
