// SPDX-License-Identifier: Apache-2.0
#include "xds/downstream_stream.h"

#include "xds/core.h"

namespace hawser::xds {
namespace {

constexpr char kMethod[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
// Sent by the bootstrap's initial_metadata: which generation of the proxy this is.
constexpr char kGeneration[] = "x-hawser-generation";

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }

 private:
  void OnDone() override { delete this; }
};

}  // namespace

DownstreamStream::DownstreamStream(grpc::GenericCallbackServerContext& context, std::shared_ptr<Mailbox> mailbox,
                                   std::uint64_t id)
    : context_(context), mailbox_(std::move(mailbox)), id_(id) {}

void DownstreamStream::announce(std::string generation) {
  const bool posted = mailbox_->post([this, id = id_, generation = std::move(generation)](Core& core) {
    core.on_downstream_opened(id, *this, generation);
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
  mailbox_->post([id = id_, ok, buffer = std::move(buffer)](Core& core) { core.on_downstream_read(id, ok, buffer); });
}

void DownstreamStream::OnWriteDone(bool ok) {
  handover_.take();
  outgoing_.Clear();
  mailbox_->post([id = id_, ok](Core& core) { core.on_downstream_written(id, ok); });
}

void DownstreamStream::OnDone() {
  handover_.take();
  delete this;
}

grpc::ServerGenericBidiReactor* RelayService::CreateReactor(grpc::GenericCallbackServerContext* context) {
  if (context->method() != kMethod)
    return new Refusal(grpc::Status(grpc::UNIMPLEMENTED, "only delta ADS is served here"));
  std::string generation;
  const auto& metadata = context->client_metadata();
  if (const auto found = metadata.find(kGeneration); found != metadata.end()) {
    generation.assign(found->second.data(), found->second.size());
  }
  auto* stream = new DownstreamStream(*context, mailbox_, next_id_++);
  stream->announce(std::move(generation));
  return stream;
}

}  // namespace hawser::xds
