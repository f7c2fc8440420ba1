// SPDX-License-Identifier: Apache-2.0
#include "ads_server.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>

namespace hawser::xds::test {
namespace {

grpc::ByteBuffer buffer_of(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  if (!buffer.Dump(&slices).ok()) return out;
  for (const auto& slice : slices) out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return out;
}

}  // namespace

struct AdsServer::Impl {
  class Stream;
  class Service;

  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  TestCertificates certificates;
  std::unique_ptr<Service> service;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  std::chrono::milliseconds age{0};
  std::chrono::milliseconds grace{0};
  grpc::Status refusal;
  int streams = 0;
  Stream* newest = nullptr;
  std::deque<Received> received;
  std::map<std::string, std::string> metadata;
  std::set<int> half_closed;
  std::map<int, Stream*> sotw;
  std::deque<SotwReceived> sotw_received;
  std::set<int> gone;
  bool hold_reads = false;
  int sotw_streams = 0;
};

class AdsServer::Impl::Stream final : public grpc::ServerGenericBidiReactor {
 public:
  Stream(Impl& impl, grpc::GenericCallbackServerContext& context) : impl_(impl), context_(context) {
    std::lock_guard lock(impl_.mutex);
    number_ = ++impl_.streams;
    sotw_ = context.method().find("StreamAggregatedResources") != std::string::npos;
    if (sotw_) ++impl_.sotw_streams;
    impl_.metadata.clear();
    for (const auto& [name, value] : context.client_metadata()) {
      impl_.metadata.emplace(std::string(name.data(), name.size()), std::string(value.data(), value.size()));
    }
    impl_.changed.notify_all();
    if (!impl_.refusal.ok()) {
      finished_ = true;
      Finish(impl_.refusal);
      return;
    }
    if (sotw_) {
      impl_.sotw[number_] = this;
      if (impl_.hold_reads) return;
    } else {
      impl_.newest = this;
    }
    read();
  }

  // With the mutex held, all of these.
  void read() {
    if (!std::exchange(reading_, true)) StartRead(&incoming_);
  }
  void push(std::string bytes) {
    queue_.push_back(std::move(bytes));
    write_next();
  }
  void end(const grpc::Status& status) {
    if (std::exchange(finished_, true)) return;
    if (impl_.newest == this) impl_.newest = nullptr;
    Finish(status);
  }

 private:
  void write_next() {
    if (writing_ || finished_ || queue_.empty()) return;
    writing_ = true;
    outgoing_ = buffer_of(queue_.front());
    queue_.pop_front();
    StartWrite(&outgoing_);
  }
  void OnReadDone(bool ok) override {
    std::lock_guard lock(impl_.mutex);
    reading_ = false;
    if (ok) {
      if (sotw_) {
        impl_.sotw_received.push_back({number_, bytes_of(incoming_)});
      } else if (auto request = parse_request(bytes_of(incoming_)))
        impl_.received.push_back({number_, std::move(*request)});
      if (!finished_) read();
    } else {
      if (!context_.IsCancelled() && !finished_) impl_.half_closed.insert(number_);
      end(grpc::Status::OK);
    }
    impl_.changed.notify_all();
  }
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(impl_.mutex);
    writing_ = false;
    if (ok) write_next();
  }
  void OnDone() override {
    {
      std::lock_guard lock(impl_.mutex);
      if (impl_.newest == this) impl_.newest = nullptr;
      impl_.sotw.erase(number_);
      impl_.gone.insert(number_);
      impl_.changed.notify_all();
    }
    delete this;
  }

  Impl& impl_;
  grpc::GenericCallbackServerContext& context_;
  int number_ = 0;
  bool sotw_ = false;
  bool reading_ = false;
  bool writing_ = false;
  bool finished_ = false;
  std::deque<std::string> queue_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
};

class AdsServer::Impl::Service final : public grpc::CallbackGenericService {
 public:
  explicit Service(Impl& impl) : impl_(impl) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new Stream(impl_, *context);
  }

 private:
  Impl& impl_;
};

AdsServer::AdsServer(const TestCertificates& certificates) : impl_(std::make_unique<Impl>()) {
  impl_->certificates = certificates;
  start();
}

AdsServer::~AdsServer() {
  stop();
}

void AdsServer::start() {
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  tls.pem_root_certs = impl_->certificates.root_pem;
  tls.pem_key_cert_pairs.push_back({impl_->certificates.key_pem, impl_->certificates.chain_pem});
  impl_->service = std::make_unique<Impl::Service>(*impl_);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:" + std::to_string(impl_->port), grpc::SslServerCredentials(tls), &impl_->port);
  builder.RegisterCallbackGenericService(impl_->service.get());
  // The tests ping much faster than anybody should.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 50);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  if (impl_->age.count() > 0) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, static_cast<int>(impl_->age.count()));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, static_cast<int>(impl_->grace.count()));
  }
  impl_->server = builder.BuildAndStart();
}

void AdsServer::expire_connections(std::chrono::milliseconds age, std::chrono::milliseconds grace) {
  impl_->age = age;
  impl_->grace = grace;
}

void AdsServer::stop() {
  if (!impl_->server) return;
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(20));
  {
    std::lock_guard lock(impl_->mutex);
    if (impl_->newest != nullptr) impl_->newest->end(grpc::Status(grpc::UNAVAILABLE, "stopped"));
  }
  impl_->server->Wait();
  impl_->server.reset();
}

std::optional<AdsServer::SotwReceived> AdsServer::expect_sotw(std::chrono::milliseconds within) {
  std::unique_lock lock(impl_->mutex);
  if (!impl_->changed.wait_for(lock, within, [this] { return !impl_->sotw_received.empty(); })) return std::nullopt;
  SotwReceived out = std::move(impl_->sotw_received.front());
  impl_->sotw_received.pop_front();
  return out;
}

int AdsServer::sotw_streams() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->sotw_streams;
}

void AdsServer::push_to(int stream, std::string bytes) {
  std::lock_guard lock(impl_->mutex);
  if (const auto found = impl_->sotw.find(stream); found != impl_->sotw.end()) found->second->push(std::move(bytes));
}

void AdsServer::end_stream(int stream, int code, const std::string& message) {
  std::lock_guard lock(impl_->mutex);
  const auto found = impl_->sotw.find(stream);
  if (found != impl_->sotw.end()) found->second->end(grpc::Status(static_cast<grpc::StatusCode>(code), message));
}

void AdsServer::hold_reads() {
  std::lock_guard lock(impl_->mutex);
  impl_->hold_reads = true;
}

void AdsServer::resume_reads() {
  std::lock_guard lock(impl_->mutex);
  impl_->hold_reads = false;
  for (auto& [number, stream] : impl_->sotw) stream->read();
}

bool AdsServer::wait_gone(int stream, std::chrono::milliseconds within) const {
  std::unique_lock lock(impl_->mutex);
  return impl_->changed.wait_for(lock, within, [&] { return impl_->gone.contains(stream); });
}

int AdsServer::port() const {
  return impl_->port;
}

void AdsServer::refuse(int code, const std::string& message) {
  std::lock_guard lock(impl_->mutex);
  impl_->refusal = grpc::Status(static_cast<grpc::StatusCode>(code), message);
}

std::optional<AdsServer::Received> AdsServer::expect(std::string_view type, std::chrono::milliseconds within) {
  std::unique_lock lock(impl_->mutex);
  std::optional<Received> out;
  impl_->changed.wait_for(lock, within, [&] {
    while (!impl_->received.empty() && !out) {
      if (impl_->received.front().request.type_url == type) out = std::move(impl_->received.front());
      impl_->received.pop_front();
    }
    return out.has_value();
  });
  return out;
}

std::size_t AdsServer::waiting(std::string_view type) const {
  std::lock_guard lock(impl_->mutex);
  std::size_t out = 0;
  for (const auto& received : impl_->received) out += received.request.type_url == type ? 1u : 0u;
  return out;
}

void AdsServer::push(std::string bytes) {
  std::lock_guard lock(impl_->mutex);
  if (impl_->newest != nullptr) impl_->newest->push(std::move(bytes));
}

void AdsServer::end(int code, const std::string& message) {
  std::lock_guard lock(impl_->mutex);
  if (impl_->newest != nullptr) impl_->newest->end(grpc::Status(static_cast<grpc::StatusCode>(code), message));
}

std::map<std::string, std::string> AdsServer::metadata() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->metadata;
}

int AdsServer::streams() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->streams;
}

bool AdsServer::wait_streams(int count, std::chrono::milliseconds within) const {
  std::unique_lock lock(impl_->mutex);
  return impl_->changed.wait_for(lock, within, [&] { return impl_->streams >= count; });
}

bool AdsServer::wait_half_closed(int stream, std::chrono::milliseconds within) const {
  std::unique_lock lock(impl_->mutex);
  return impl_->changed.wait_for(lock, within, [&] { return impl_->half_closed.contains(stream); });
}

}  // namespace hawser::xds::test
