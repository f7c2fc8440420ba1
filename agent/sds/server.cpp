// SPDX-License-Identifier: Apache-2.0
#include "sds/server.h"

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/log.h"
#include "certs/utc.h"
#include "sds/file_secrets.h"
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
    bool sent_by_provider = false;  // a certificate whose key the provider is to use
    bool writing = false;
  };

  Loop& loop;
  Metrics& metrics;
  Options options;
  std::unique_ptr<FileSecrets> files;
  std::unique_ptr<StreamService> service;
  std::map<std::uint64_t, Subscriber> subscribers;
  std::set<std::string> unknown;
  certs::IdentityPtr identity;
  Roots roots;
  std::map<std::string, std::string> versions;  // name → version of its present content
  std::uint64_t counter = 0;
  Presented presented;
  std::function<void(const Presented&)> on_presented;

  Impl(Loop& l, Metrics& m, Options o) : loop(l), metrics(m), options(std::move(o)) {}

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
    want_files();
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
    want_files();
  }

  // True when another leaf is in use now.
  bool answered(Subscriber& subscriber, const Ask& ask) {
    metrics.add("hawser_sds_answers_total", "Answers of the proxy to pushed secrets",
                {{"answer", ask.refused ? "nack" : "ack"}});
    const auto sent = std::exchange(subscriber.sent, std::nullopt);
    if (ask.refused) {
      log::warn("the proxy refuses a secret",
                {{"names", ask.names.empty() ? "" : ask.names.front()}, {"error", ask.refusal}, {"id", "HWS-SDS-001"}});
      if (subscriber.sent_by_provider && options.provider.fallback) do_without_provider(ask.refusal);
      return false;
    }
    if (!sent || sent->serial == presented.serial) return false;
    presented = *sent;
    log::info("the proxy uses the certificate", {{"serial", presented.serial}});
    return true;
  }

  // An Envoy that doesn't know the provider refuses the certificate, whatever `fallback` says: that's for hardware that
  // is missing. A host with mTLS by software is better off than one without mTLS.
  void do_without_provider(const std::string& refusal) {
    if (options.provider.name.empty()) return;
    const Error error(Code::kFailedPrecondition, "HWS-SDS-003",
                      "the proxy can't use the private key provider " + options.provider.name + ": " + refusal,
                      "run an Envoy that has it (contrib builds), or remove sds.private_key_provider");
    log::warn(error.message() + "; keys are used without it", {{"id", error.id()}, {"fix", error.hint()}});
    if (options.health != nullptr)
      options.health->report("key provider", HealthState::kDegraded, error.message() + "; keys are used without it",
                             &error);
    options.provider = {};
    std::set<std::string> again;
    for (auto& [id, subscriber] : subscribers)
      if (std::exchange(subscriber.sent_by_provider, false))
        for (const auto& name : subscriber.names)
          if (is_certificate(name)) again.insert(name);
    for (const auto& name : again) renew(name);
  }

  static bool is_certificate(const std::string& name) {
    return name == kCertificateName || (is_file_name(name) && !is_file_roots(name));
  }

  bool is_ours(const std::string& name) const {
    return name == kCertificateName || name == kRootsName || (files && is_file_name(name));
  }

  // No names: the stream wants nothing any more.
  void subscribe(Subscriber& subscriber, std::set<std::string> names) {
    for (const auto& name : names) {
      if (subscriber.names.count(name) == 0) subscriber.owed.insert(name);
      if (!is_ours(name) && unknown.size() < kMaxUnknown && unknown.insert(name).second)
        log::warn("the proxy asks for a secret that isn't ours to give; it stays pending",
                  {{"name", name}, {"id", "HWS-SDS-002"}});
    }
    for (auto it = subscriber.owed.begin(); it != subscriber.owed.end();)
      it = names.count(*it) == 0 ? subscriber.owed.erase(it) : std::next(it);
    const bool same = subscriber.names == names;
    subscriber.names = std::move(names);
    if (!same) want_files();
  }

  void want_files() {
    if (!files) return;
    std::set<std::string> wanted;
    for (const auto& [id, subscriber] : subscribers)
      for (const auto& name : subscriber.names)
        if (is_file_name(name)) wanted.insert(name);
    for (auto it = versions.begin(); it != versions.end();)
      it = is_file_name(it->first) && wanted.count(it->first) == 0 ? versions.erase(it) : std::next(it);
    files->want(wanted);
  }

  // --- what it gets ---

  void publish(const certs::IdentityPtr& next, Roots next_roots) {
    const bool other_roots = versions.count(kRootsName) == 0 || roots != next_roots;
    const bool leaf = !identity || !identity->same_leaf(*next);
    identity = next;
    roots = std::move(next_roots);
    if (other_roots) renew(kRootsName);
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
    if (subscriber.writing) return;
    Push push;
    for (const bool certificates : {false, true}) {
      for (auto it = subscriber.owed.begin(); it != subscriber.owed.end();) {
        const auto version = versions.find(*it);
        const bool now = version != versions.end() && is_certificate(*it) == certificates;
        if (now) add(push, *it, version->second, subscriber);
        it = now ? subscriber.owed.erase(it) : std::next(it);
      }
    }
    if (push.resources.empty()) return;
    subscriber.nonce = push.nonce = std::to_string(++counter);
    subscriber.writing = true;
    subscriber.stream->write(std::move(push));
  }

  void add(Push& push, const std::string& name, const std::string& version, Subscriber& subscriber) {
    push.version = version;
    push.resources.push_back({name, packed(name)});
    if (name == kCertificateName) subscriber.sent = Presented{identity->serial, version};
    if (is_certificate(name) && !options.provider.name.empty()) subscriber.sent_by_provider = true;
    // A name of the mesh's choice is no label: there'd be no end of them.
    metrics.add("hawser_sds_pushes_total", "Secrets sent to the proxy",
                {{"resource", is_file_name(name) ? "file" : name}});
  }

  // Only of what has a version.
  std::string packed(const std::string& name) const {
    if (name == kRootsName) return pack_roots(name, roots);
    if (name == kCertificateName)
      return pack_certificate(name, identity->key_pem, identity->chain_pem, options.provider);
    const auto file = files->find(name);
    if (is_file_roots(name)) return pack_roots(name, {file->roots_pem, {}});
    return pack_certificate(name, file->key_pem, file->chain_pem, options.provider);
  }

  void count_streams() {
    metrics.set("hawser_sds_streams", "Open SDS streams", {}, static_cast<double>(subscribers.size()));
  }

  void shutdown() {
    if (files) files->stop();
    subscribers.clear();
    service->finish_all();
    count_streams();
  }
};

SdsServer::SdsServer(Loop& loop, Metrics& metrics) : SdsServer(loop, metrics, Options()) {}

SdsServer::SdsServer(Loop& loop, Metrics& metrics, Options options)
    : impl_(std::make_shared<Impl>(loop, metrics, std::move(options))) {
  impl_->service = make_stream_service(loop, impl_);
}

SdsServer::~SdsServer() {
  shutdown();
}

grpc::Service* SdsServer::service() {
  return impl_->service->grpc_service();
}

void SdsServer::serve_files(std::unique_ptr<FileSecrets> files) {
  impl_->files = std::move(files);
  impl_->files->on_change([impl = impl_.get()](const std::string& name) { impl->renew(name); });
}

void SdsServer::publish(const certs::IdentityPtr& identity) {
  publish(identity, Roots{identity->roots_pem});
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
