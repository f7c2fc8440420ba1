// SPDX-License-Identifier: Apache-2.0
#include "sds/stream.h"

#include <grpcpp/grpcpp.h>

#include <cstring>
#include <map>
#include <mutex>

#include "envoy/service/secret/v3/sds.grpc.pb.h"
#include "sds/secrets.h"

namespace hawser::sds {
namespace {

using envoy::service::discovery::v3::DiscoveryRequest;
using envoy::service::discovery::v3::DiscoveryResponse;
using envoy::service::secret::v3::SecretDiscoveryService;

grpc::Status status_of(End end) {
  switch (end) {
    case End::kInvalid:
      return {grpc::StatusCode::INVALID_ARGUMENT, "only secrets are served here"};
    case End::kTooMuch:
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams or names"};
    case End::kGoingAway:
      return {grpc::StatusCode::UNAVAILABLE, "going away"};
    case End::kOk:
      break;
  }
  return grpc::Status::OK;
}

Ask ask_of(const DiscoveryRequest& request) {
  Ask ask;
  ask.type_url = request.type_url();
  ask.nonce = request.response_nonce();
  ask.names.assign(request.resource_names().begin(), request.resource_names().end());
  ask.refused = request.has_error_detail();
  ask.refusal = request.error_detail().message();
  return ask;
}

// gRPC may call OnDone, after which nothing of the call may be touched, only once Finish was called and every operation
// has ended. So Finish is called once, by whoever is first, and nothing is started after it: that's what mutex_ is for.
// gRPC's callbacks take it in OnCancel alone, which is never run from within StartRead, StartWrite or Finish.
class Reactor final : public grpc::ServerBidiReactor<DiscoveryRequest, DiscoveryResponse>, public Stream {
 public:
  Reactor(Loop& loop, std::weak_ptr<StreamEvents> events, std::uint64_t id)
      : loop_(loop), events_(std::move(events)), id_(id) {}

  // gRPC owns the reactor until OnDone: it holds itself up meanwhile. `forget` takes it off the service's list.
  void begin(std::shared_ptr<Reactor> self, std::function<void()> forget) {
    forget_ = std::move(forget);
    self_ = std::move(self);
    post([stream = std::shared_ptr<Stream>(self_)](StreamEvents& events, std::uint64_t id) {
      events.opened(id, stream);
    });
  }

  void read() override {
    const std::lock_guard lock(mutex_);
    if (!finished_) StartRead(&request_);
  }

  void write(Push push) override {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    response_.set_version_info(std::move(push.version));
    response_.set_nonce(std::move(push.nonce));
    response_.set_type_url(kSecretType);
    for (auto& resource : push.resources) response_.add_resources(std::move(resource.packed));
    StartWrite(&response_);
  }

  void finish(End end) override {
    const std::lock_guard lock(mutex_);
    if (std::exchange(finished_, true)) return;
    Finish(status_of(end));
  }

  void OnReadDone(bool ok) override {
    // Not ok: the peer closed its side, or the call was cancelled.
    if (!ok) return post([](StreamEvents& events, std::uint64_t id) { events.closed(id); });
    post([ask = ask_of(request_)](StreamEvents& events, std::uint64_t id) { events.asked(id, ask); });
  }

  void OnWriteDone(bool ok) override {
    for (auto& resource : *response_.mutable_resources()) ::explicit_bzero(resource.data(), resource.size());
    response_.Clear();
    if (ok) post([](StreamEvents& events, std::uint64_t id) { events.written(id); });
  }

  void OnCancel() override { finish(End::kGoingAway); }

  void OnDone() override {
    post([](StreamEvents& events, std::uint64_t id) { events.closed(id); });
    const auto last = std::move(self_);
    forget_();
  }

 private:
  template <typename Event>
  void post(Event event) {
    loop_.post([events = events_, id = id_, event = std::move(event)] {
      if (auto live = events.lock()) event(*live, id);
    });
  }

  Loop& loop_;
  const std::weak_ptr<StreamEvents> events_;
  const std::uint64_t id_;
  std::function<void()> forget_;
  std::shared_ptr<Reactor> self_;
  DiscoveryRequest request_;
  DiscoveryResponse response_;
  std::mutex mutex_;
  bool finished_ = false;
};

class Service final : public SecretDiscoveryService::CallbackService, public StreamService {
 public:
  Service(Loop& loop, std::weak_ptr<StreamEvents> events) : loop_(loop), events_(std::move(events)) {}

  grpc::Service* grpc_service() override { return this; }

  grpc::ServerBidiReactor<DiscoveryRequest, DiscoveryResponse>* StreamSecrets(grpc::CallbackServerContext*) override {
    std::shared_ptr<Reactor> reactor;
    bool refused = false;
    {
      const std::lock_guard lock(mutex_);
      const std::uint64_t id = ++last_id_;
      reactor = std::make_shared<Reactor>(loop_, events_, id);
      reactors_[id] = reactor;
      refused = closing_;
      reactor->begin(reactor, [this, id] {
        const std::lock_guard inner(mutex_);
        reactors_.erase(id);
      });
    }
    if (refused) reactor->finish(End::kGoingAway);
    return reactor.get();
  }

  void finish_all() override {
    std::vector<std::shared_ptr<Reactor>> all;
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      for (auto& [id, weak] : reactors_)
        if (auto reactor = weak.lock()) all.push_back(std::move(reactor));
    }
    for (auto& reactor : all) reactor->finish(End::kGoingAway);
  }

 private:
  Loop& loop_;
  const std::weak_ptr<StreamEvents> events_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::weak_ptr<Reactor>> reactors_;
  std::uint64_t last_id_ = 0;
  bool closing_ = false;
};

}  // namespace

std::unique_ptr<StreamService> make_stream_service(Loop& loop, std::weak_ptr<StreamEvents> events) {
  return std::make_unique<Service>(loop, std::move(events));
}

}  // namespace hawser::sds
