// SPDX-License-Identifier: Apache-2.0
#include "relay_host.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "base/asio_loop.h"
#include "base/metrics.h"
#include "envoy/config/core/v3/base.pb.h"

namespace hawser::xds::test {
namespace {

class Recorder final : public HealthSink {
 public:
  void report(const std::string& item, HealthState state, const std::string&, const Error* error) override {
    std::lock_guard lock(mutex_);
    items_[item] = error != nullptr ? error->id() : state == HealthState::kOk ? "ok" : "starting";
    changed_.notify_all();
  }
  std::string wait(const std::string& item, const std::string& expected, std::chrono::milliseconds within) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, within, [&] { return items_[item] == expected; });
    return items_[item];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> items_;
};

}  // namespace

struct RelayHost::Impl {
  AsioLoop loop;
  Metrics metrics;
  Recorder health;
  std::string folder;
  std::unique_ptr<Relay> relay;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<grpc::Server> program_server;
  std::thread thread;
};

RelayHost::RelayHost(Relay::Options options) : impl_(std::make_unique<Impl>()) {
  impl_->folder = testing::TempDir() + "hawser-relay-XXXXXX";
  if (mkdtemp(impl_->folder.data()) == nullptr) std::abort();
  impl_->relay = std::make_unique<Relay>(impl_->loop, impl_->metrics, impl_->health, options);
  const auto serve = [](const std::string& where, grpc::CallbackGenericService* service) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(where, grpc::InsecureServerCredentials());
    builder.SetMaxReceiveMessageSize(-1);
    builder.RegisterCallbackGenericService(service);
    return builder.BuildAndStart();
  };
  impl_->server = serve(target(), impl_->relay->service());
  impl_->program_server = serve(program_target(), impl_->relay->program_service());
  impl_->thread = std::thread([this] { impl_->loop.run(); });
}

RelayHost::~RelayHost() {
  stop();
  impl_->loop.stop();
  impl_->thread.join();
  impl_->relay.reset();
  unlink((impl_->folder + "/xds.sock").c_str());
  unlink((impl_->folder + "/program.sock").c_str());
  rmdir(impl_->folder.c_str());
}

void RelayHost::start(const UpstreamOptions& upstream, Credentials credentials, Result<std::string> token) {
  call([&] {
    impl_->relay->start(
        test_node(), upstream, [credentials] { return credentials; }, [token] { return token; });
  });
}

void RelayHost::stop() {
  if (!impl_->server) return;
  std::promise<void> stopped;
  call([&] { impl_->relay->stop([&] { stopped.set_value(); }); });
  stopped.get_future().wait();
  impl_->server->Shutdown();
  impl_->server.reset();
  impl_->program_server->Shutdown();
  impl_->program_server.reset();
}

std::string RelayHost::target() const {
  return "unix:" + impl_->folder + "/xds.sock";
}

std::string RelayHost::program_target() const {
  return "unix:" + impl_->folder + "/program.sock";
}

Relay& RelayHost::relay() {
  return *impl_->relay;
}

void RelayHost::call(const std::function<void()>& work) {
  std::promise<void> done;
  impl_->loop.post([&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

Relay::Status RelayHost::status() {
  Relay::Status out;
  call([&] { out = impl_->relay->status(); });
  return out;
}

std::vector<std::string> RelayHost::names(std::string_view type) {
  std::promise<std::vector<std::string>> out;
  call([&] {
    impl_->relay->names(std::string(type), [&](std::vector<std::string> names) { out.set_value(std::move(names)); });
  });
  return out.get_future().get();
}

std::string RelayHost::metrics() const {
  return impl_->metrics.text();
}

bool RelayHost::wait(const std::function<bool(const Relay::Status&)>& condition, std::chrono::milliseconds within) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!condition(status())) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

std::string RelayHost::wait_health(const std::string& item, const std::string& expected,
                                   std::chrono::milliseconds within) {
  return impl_->health.wait(item, expected, within);
}

UpstreamOptions upstream_to(int port, const std::string& roots_pem) {
  UpstreamOptions options;
  options.dial_target = "ipv4:127.0.0.1:" + std::to_string(port);
  options.server_name = kPlaneName;
  options.roots_pem = roots_pem;
  options.backoff_base = std::chrono::milliseconds(10);
  options.backoff_cap = std::chrono::milliseconds(50);
  return options;
}

std::string test_node(const std::string& ns) {
  envoy::config::core::v3::Node node;
  node.set_id("sidecar~10.0.0.1~vm." + ns + "~" + ns + ".svc.cluster.local");
  (*node.mutable_metadata()->mutable_fields())["NAMESPACE"].set_string_value(ns);
  return node.SerializeAsString();
}

}  // namespace hawser::xds::test
