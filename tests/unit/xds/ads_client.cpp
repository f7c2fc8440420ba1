// SPDX-License-Identifier: Apache-2.0
#include "ads_client.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

namespace hawser::xds::test {

// The completion queue API: each call of a test drives it, so nothing happens behind the test's back.
struct AdsClient::Impl {
  enum Tag : int { kStart = 1, kRead, kWrite, kEnd };

  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::unique_ptr<grpc::GenericStub> stub;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
  grpc::ByteBuffer incoming;
  grpc::Status status;
  int pending = 0;
  bool started = false;
  bool reading = false;
  bool readable = false;
  bool broken = false;
  bool writing = false;
  bool ended = false;
  bool finishing = false;

  static void* tag(Tag value) { return reinterpret_cast<void*>(static_cast<std::intptr_t>(value)); }

  // Handles one event; false when there is none in time.
  bool drive(std::chrono::system_clock::time_point deadline) {
    void* got = nullptr;
    bool ok = false;
    if (queue.AsyncNext(&got, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return false;
    --pending;
    switch (static_cast<Tag>(reinterpret_cast<std::intptr_t>(got))) {
      case kStart:
        started = true;
        broken |= !ok;
        break;
      case kRead:
        reading = false;
        (ok ? readable : broken) = true;
        break;
      case kWrite:
        writing = false;
        broken |= !ok;
        break;
      case kEnd:
        ended = true;
        break;
    }
    return true;
  }
  template <typename Done>
  bool until(std::chrono::milliseconds within, Done done) {
    const auto deadline = std::chrono::system_clock::now() + within;
    while (!done()) {
      if (!drive(deadline)) return done();
    }
    return true;
  }
};

AdsClient::AdsClient(const std::string& target, const std::string& generation, const std::string& method)
    : impl_(std::make_shared<Impl>()) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  impl_->stub = std::make_unique<grpc::GenericStub>(
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
  if (!generation.empty()) impl_->context.AddMetadata("x-hawser-generation", generation);
  impl_->call = impl_->stub->PrepareCall(&impl_->context, method, &impl_->queue);
  ++impl_->pending;
  impl_->call->StartCall(Impl::tag(Impl::kStart));
  impl_->until(std::chrono::seconds(10), [this] { return impl_->started; });
}

AdsClient::~AdsClient() {
  impl_->context.TryCancel();
  if (!impl_->finishing) {
    ++impl_->pending;
    impl_->finishing = true;
    impl_->call->Finish(&impl_->status, Impl::tag(Impl::kEnd));
  }
  impl_->queue.Shutdown();
  while (impl_->drive(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
  }
}

void AdsClient::send(const Request& request) {
  (void)send_bytes(build_request(request));
}

bool AdsClient::send_bytes(const std::string& bytes, std::chrono::milliseconds within) {
  if (impl_->broken || impl_->writing) return false;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer buffer(&slice, 1);
  ++impl_->pending;
  impl_->writing = true;
  impl_->call->Write(buffer, Impl::tag(Impl::kWrite));
  return impl_->until(within, [this] { return !impl_->writing; });
}

std::optional<std::string> AdsClient::receive(std::chrono::milliseconds within) {
  if (!impl_->reading && !impl_->readable && !impl_->broken) {
    ++impl_->pending;
    impl_->reading = true;
    impl_->call->Read(&impl_->incoming, Impl::tag(Impl::kRead));
  }
  impl_->until(within, [this] { return impl_->readable || impl_->broken; });
  if (!std::exchange(impl_->readable, false)) return std::nullopt;
  std::vector<grpc::Slice> slices;
  std::string out;
  if (impl_->incoming.Dump(&slices).ok()) {
    for (const auto& slice : slices) out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return out;
}

int AdsClient::wait_end(std::chrono::milliseconds within) {
  while (!impl_->broken) {
    if (!receive(within) && !impl_->broken) return -1;
  }
  if (!impl_->finishing) {
    ++impl_->pending;
    impl_->finishing = true;
    impl_->call->Finish(&impl_->status, Impl::tag(Impl::kEnd));
  }
  return impl_->until(within, [this] { return impl_->ended; }) ? impl_->status.error_code() : -1;
}

void AdsClient::half_close() {
  ++impl_->pending;
  impl_->writing = true;
  impl_->call->WritesDone(Impl::tag(Impl::kWrite));
  impl_->until(std::chrono::seconds(10), [this] { return !impl_->writing; });
}

}  // namespace hawser::xds::test
