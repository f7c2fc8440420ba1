// SPDX-License-Identifier: Apache-2.0
#include "xds/downstream_stream.h"

#include <atomic>

#include "xds/core.h"

namespace hawser::xds {
namespace {

constexpr char kDelta[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
constexpr char kSotw[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
// Sent by the bootstrap's initial_metadata: which generation of the proxy this is.
constexpr char kGeneration[] = "x-hawser-generation";

// Over all services: one core knows the streams by these.
std::uint64_t next_id() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }

 private:
  void OnDone() override { delete this; }
};

}  // namespace

DownstreamStream::DownstreamStream(grpc::GenericCallbackServerContext& context, std::shared_ptr<Mailbox> mailbox,
                                   std::uint64_t id, Protocol protocol)
    : context_(context), mailbox_(std::move(mailbox)), id_(id), protocol_(protocol) {}

bool DownstreamStream::tell(std::function<void(DownstreamUser&)> work) {
  return mailbox_->post([protocol = protocol_, work = std::move(work)](Core& core) { work(core.user(protocol)); });
}

void DownstreamStream::announce(std::string generation) {
  const bool posted = tell([this, id = id_, generation = std::move(generation)](DownstreamUser& user) {
    user.on_downstream_opened(id, *this, generation);
  });
  if (!posted) Finish(grpc::Status(grpc::UNAVAILABLE, "the relay is stopping"));
}

void DownstreamStream::read() {
  handover_.give();
  StartRead(&incoming_);
}

void DownstreamStream::write(grpc::ByteBuffer buffer) {
  outgoing_.Swap(&buffer);
  handover_.give();
  StartWrite(&outgoing_);
}

void DownstreamStream::finish(const grpc::Status& status) {
  handover_.give();
  Finish(status);
}

void DownstreamStream::OnReadDone(bool ok) {
  handover_.take();
  grpc::ByteBuffer buffer;
  buffer.Swap(&incoming_);
  tell([id = id_, ok, buffer = std::move(buffer)](DownstreamUser& user) { user.on_downstream_read(id, ok, buffer); });
}

void DownstreamStream::OnWriteDone(bool ok) {
  handover_.take();
  outgoing_.Clear();
  tell([id = id_, ok](DownstreamUser& user) { user.on_downstream_written(id, ok); });
}

void DownstreamStream::OnCancel() {
  handover_.take();
  tell([id = id_](DownstreamUser& user) { user.on_downstream_cancelled(id); });
}

void DownstreamStream::OnDone() {
  handover_.take();
  delete this;
}

grpc::ServerGenericBidiReactor* RelayService::CreateReactor(grpc::GenericCallbackServerContext* context) {
  const bool delta = context->method() == kDelta;
  if (!delta && context->method() != kSotw)
    return new Refusal(grpc::Status(grpc::UNIMPLEMENTED, "only ADS is served here"));
  if (delta && clients_ == Clients::kPrograms)
    return new Refusal(grpc::Status(grpc::UNIMPLEMENTED, "delta ADS is for the proxy; use state of the world"));
  std::string generation;
  const auto& metadata = context->client_metadata();
  if (const auto found = metadata.find(kGeneration); found != metadata.end()) {
    generation.assign(found->second.data(), found->second.size());
  }
  auto* stream = new DownstreamStream(*context, mailbox_, next_id(), delta ? Protocol::kDelta : Protocol::kSotw);
  stream->announce(std::move(generation));
  return stream;
}

}  // namespace hawser::xds
