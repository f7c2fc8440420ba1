// SPDX-License-Identifier: Apache-2.0
#include "sds/server.h"

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/log.h"
#include "certs/utc.h"
#include "sds/secrets.h"
#include "sds/stream.h"

namespace hawser::sds {
namespace {

constexpr std::size_t kMaxStreams = 1024;
constexpr std::size_t kMaxNames = 32;  // of a stream; Envoy asks for one
constexpr std::size_t kMaxUnknown = 64;

}  // namespace

struct SdsServer::Impl : StreamEvents, std::enable_shared_from_this<Impl> {
  // What a stream was told last, and what it wants.
  struct Subscriber {
    std::shared_ptr<Stream> stream;
    std::set<std::string> names;
    std::set<std::string> owed;  // to be sent as soon as they exist and the stream is free
    std::string nonce;
    std::optional<Presented> sent;  // the leaf that waits for its answer
    bool writing = false;
  };

  Loop& loop;
  Metrics& metrics;
  std::unique_ptr<StreamService> service;
  std::map<std::uint64_t, Subscriber> subscribers;
  std::set<std::string> unknown;
  certs::IdentityPtr identity;
  Roots roots;
  std::map<std::string, std::string> versions;  // name → version of its present content
  std::uint64_t counter = 0;
  Presented presented;
  std::function<void(const Presented&)> on_presented;

  Impl(Loop& l, Metrics& m) : loop(l), metrics(m) {}

  // --- what the proxy wants ---

  void opened(std::uint64_t id, std::shared_ptr<Stream> stream) override {
    if (subscribers.size() >= kMaxStreams) return stream->finish(End::kTooMuch);
    stream->read();
    subscribers[id].stream = std::move(stream);
    count_streams();
  }

  void closed(std::uint64_t id) override {
    const auto found = subscribers.find(id);
    if (found == subscribers.end()) return;
    const auto stream = std::move(found->second.stream);
    subscribers.erase(found);
    stream->finish(End::kOk);
    count_streams();
  }

  void asked(std::uint64_t id, const Ask& ask) override {
    const auto found = subscribers.find(id);
    if (found == subscribers.end()) return;
    Subscriber& subscriber = found->second;
    if (!ask.type_url.empty() && ask.type_url != kSecretType) return reject(id, End::kInvalid);
    if (ask.names.size() > kMaxNames) return reject(id, End::kTooMuch);
    subscriber.stream->read();
    // A request that crossed our last response speaks of an older one; the proxy will answer the last as well.
    if (!ask.nonce.empty() && ask.nonce != subscriber.nonce) return;
    const bool news = !ask.nonce.empty() && answered(subscriber, ask);
    subscribe(subscriber, {ask.names.begin(), ask.names.end()});
    send(subscriber);
    if (news && on_presented) on_presented(presented);
  }

  void reject(std::uint64_t id, End end) {
    const auto stream = subscribers[id].stream;
    subscribers.erase(id);
    stream->finish(end);
    count_streams();
  }

  // True when another leaf is in use now.
  bool answered(Subscriber& subscriber, const Ask& ask) {
    metrics.add("hawser_sds_answers_total", "Answers of the proxy to pushed secrets",
                {{"answer", ask.refused ? "nack" : "ack"}});
    const auto sent = std::exchange(subscriber.sent, std::nullopt);
    if (ask.refused) {
      log::warn("the proxy refuses a secret",
                {{"names", ask.names.empty() ? "" : ask.names.front()}, {"error", ask.refusal}, {"id", "HWS-SDS-001"}});
      return false;
    }
    if (!sent || sent->serial == presented.serial) return false;
    presented = *sent;
    log::info("the proxy uses the certificate", {{"serial", presented.serial}});
    return true;
  }

  // No names: the stream wants nothing any more.
  void subscribe(Subscriber& subscriber, std::set<std::string> names) {
    for (const auto& name : names) {
      if (subscriber.names.count(name) == 0) subscriber.owed.insert(name);
      if (name != kCertificateName && name != kRootsName && unknown.size() < kMaxUnknown && unknown.insert(name).second)
        log::warn("the proxy asks for a secret that isn't ours to give; it stays pending",
                  {{"name", name}, {"id", "HWS-SDS-002"}});
    }
    for (auto it = subscriber.owed.begin(); it != subscriber.owed.end();)
      it = names.count(*it) == 0 ? subscriber.owed.erase(it) : std::next(it);
    subscriber.names = std::move(names);
  }

  // --- what it gets ---

  void publish(const certs::IdentityPtr& next, Roots trusted) {
    const bool others = !identity || !(roots == trusted);
    const bool leaf = !identity || identity->chain_pem != next->chain_pem || !(identity->key_pem == next->key_pem);
    identity = next;
    roots = std::move(trusted);
    if (others) renew(kRootsName);
    if (leaf) renew(kCertificateName);
  }

  void renew(const std::string& name) {
    // As the stock agent's: unique also over restarts of ours, which the proxy outlives.
    versions[name] = certs::utc_text(loop.wall()) + "/" + std::to_string(++counter);
    for (auto& [id, subscriber] : subscribers) {
      if (subscriber.names.count(name) == 0) continue;
      subscriber.owed.insert(name);
      send(subscriber);
    }
  }

  void written(std::uint64_t id) override {
    const auto found = subscribers.find(id);
    if (found == subscribers.end()) return;
    found->second.writing = false;
    send(found->second);
  }

  void send(Subscriber& subscriber) {
    if (subscriber.writing || !identity) return;
    Push push;
    for (const char* name : {kRootsName, kCertificateName}) {
      if (versions.count(name) == 0 || subscriber.owed.erase(name) == 0) continue;
      const bool leaf = name == kCertificateName;
      push.version = versions[name];
      push.resources.push_back({name, leaf ? pack_certificate(*identity) : pack_roots(roots)});
      if (leaf) subscriber.sent = Presented{identity->serial, push.version};
      metrics.add("hawser_sds_pushes_total", "Secrets sent to the proxy", {{"resource", name}});
    }
    if (push.resources.empty()) return;
    subscriber.nonce = push.nonce = std::to_string(++counter);
    subscriber.writing = true;
    subscriber.stream->write(std::move(push));
  }

  void count_streams() {
    metrics.set("hawser_sds_streams", "Open SDS streams", {}, static_cast<double>(subscribers.size()));
  }

  void shutdown() {
    subscribers.clear();
    service->finish_all();
    count_streams();
  }
};

SdsServer::SdsServer(Loop& loop, Metrics& metrics) : impl_(std::make_shared<Impl>(loop, metrics)) {
  impl_->service = make_stream_service(loop, impl_);
}

SdsServer::~SdsServer() {
  shutdown();
}

grpc::Service* SdsServer::service() {
  return impl_->service->grpc_service();
}

void SdsServer::publish(const certs::IdentityPtr& identity) {
  impl_->publish(identity, Roots{identity->roots_pem});
}

void SdsServer::publish(const certs::IdentityPtr& identity, Roots roots) {
  impl_->publish(identity, std::move(roots));
}

const SdsServer::Presented& SdsServer::presented() const {
  return impl_->presented;
}

void SdsServer::on_presented(std::function<void(const Presented&)> callback) {
  impl_->on_presented = std::move(callback);
}

void SdsServer::shutdown() {
  impl_->shutdown();
}

}  // namespace hawser::sds
