// SPDX-License-Identifier: Apache-2.0
#include "xds/sotw_session.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <utility>

#include "base/log.h"
#include "xds/buffers.h"
#include "xds/downstream_stream.h"
#include "xds/fit.h"
#include "xds/sotw_wire.h"
#include "xds/types.h"
#include "xds/wire.h"

namespace hawser::xds {
namespace {

constexpr std::chrono::seconds kSessionLetGoTimeout{5};

}  // namespace

SotwSession::SotwSession(std::uint64_t id, DownstreamStream& client, Owner& owner, Post post)
    : id_(id), client_(&client), owner_(owner), post_(std::move(post)) {}

SotwSession::~SotwSession() {
  if (upstream_ == nullptr) return;
  upstream_->cancel();
  release();
  if (upstream_->wait_done(kSessionLetGoTimeout)) return;
  // gRPC still calls it some day: better a leak at the end of the process than a crash.
  log::error("gRPC doesn't let go of a passed-through stream");
  (void)upstream_.release();
}

void SotwSession::start() {
  client_->read();
}

void SotwSession::open(const UpstreamOptions& options, const Material& material) {
  if (!waiting()) return;
  UpstreamStream::Callbacks callbacks;
  callbacks.read = [post = post_](bool ok, grpc::ByteBuffer buffer) {
    post([ok, buffer = std::move(buffer)](SotwSession& session) { session.on_upstream_read(ok, buffer); });
  };
  callbacks.written = [post = post_](bool ok) {
    post([ok](SotwSession& session) { session.on_upstream_written(ok); });
  };
  callbacks.done = [post = post_](grpc::Status status, std::optional<std::chrono::milliseconds>) {
    post([status = std::move(status)](SotwSession& session) { session.on_upstream_done(status); });
  };
  const auto route = material.route ? *material.route : std::nullopt;
  upstream_ = UpstreamStream::make(UpstreamStream::Method::kSotw, options, material.credentials,
                                   material.token ? *material.token : std::string(), route, std::move(callbacks));
  upstream_->start();
  upstream_reading_ = true;
  upstream_->write(*std::exchange(held_, std::nullopt));
}

// The client's half.

void SotwSession::on_read(bool ok, const grpc::ByteBuffer& buffer) {
  if (ending_) return;
  if (!ok) {
    half_closed_ = true;
    if (upstream_ == nullptr) return end(grpc::Status::OK, false);
    if (!released_) upstream_->half_close();
    return;
  }
  owner_.on_moved(buffer.Length());
  const auto bytes = to_bytes(buffer).value_or(std::string());
  const auto head = scan_sotw_request(bytes);
  if (!head) {
    log::warn("a client's stream is closed", {{"cause", head.error().to_string()}});
    return end(grpc::Status(grpc::INVALID_ARGUMENT, head.error().message()), false);
  }
  if (!head->node.empty()) {
    client_node_ = head->node;
    fit_ = owner_.fit_for(id_, client_node_);
  }
  if (!forwardable(head->type_url)) {
    log::warn("a client asked for a type that is the agent's", {{"id", "HWS-XDS-013"}, {"type", head->type_url}});
    client_->read();
    return;
  }
  const bool first = !std::exchange(node_told_, true);
  pass_on(first ? to_buffer(with_node(bytes, owner_.node_for(client_node_))) : buffer);
}

void SotwSession::pass_on(grpc::ByteBuffer request) {
  if (upstream_ == nullptr) {
    held_ = std::move(request);
    owner_.on_upstream_wanted(id_);
  } else if (!released_) {
    upstream_->write(std::move(request));
  }
}

void SotwSession::on_written(bool ok) {
  client_writing_ = false;
  if (ending_) {
    finish_client();
  } else if (!ok) {
    end(grpc::Status(grpc::CANCELLED, "the client is gone"), false);
  } else if (upstream_ != nullptr && !released_) {
    upstream_reading_ = true;
    upstream_->read();
  }
}

void SotwSession::on_cancelled() {
  end(grpc::Status(grpc::CANCELLED, "the client is gone"), false);
}

// The plane's half.

void SotwSession::on_upstream_read(bool ok, grpc::ByteBuffer buffer) {
  if (released_) return;
  upstream_reading_ = false;
  if (!ok) return release();
  answered_ = true;
  owner_.on_moved(buffer.Length());
  grpc::ProtoBufferReader reader(&buffer);
  const auto envelope = scan_envelope(reader);
  if (!envelope) {
    log::warn("the control plane's answer to a client is malformed", {{"cause", envelope.error().to_string()}});
    return end(grpc::Status(grpc::INTERNAL, envelope.error().message()), false);
  }
  if (!forwardable(envelope->type_url)) {
    upstream_reading_ = true;
    upstream_->read();
    return;
  }
  client_writing_ = true;
  client_->write(fitted(envelope->type_url, std::move(buffer)));
}

grpc::ByteBuffer SotwSession::fitted(const std::string& type_url, grpc::ByteBuffer response) {
  if (fit_ == nullptr || !Fit::concerns(type_url)) return response;
  const auto bytes = to_bytes(response);
  auto own = bytes ? fit_->sotw_response(type_url, *bytes) : std::nullopt;
  return own ? to_buffer(std::move(*own)) : response;
}

void SotwSession::on_upstream_written(bool ok) {
  if (ending_ || released_) return;
  if (ok) return client_->read();
  // The stream is dead; a read finds out, also when none was due because the client is slow.
  if (!std::exchange(upstream_reading_, true)) upstream_->read();
}

void SotwSession::on_upstream_done(const grpc::Status& status) {
  upstream_.reset();
  owner_.on_upstream_ended(id_, ending_ || half_closed_, status);
  if (ending_) return over_if_both_gone();
  end(status, false);
}

// The end.

void SotwSession::end(const grpc::Status& status, bool at_once) {
  if (!std::exchange(ending_, true)) {
    end_ = status;
    held_.reset();
    if (upstream_ != nullptr) {
      upstream_->cancel();
      release();
    }
    if (!client_writing_) return finish_client();
  }
  if (at_once && client_ != nullptr) client_->cancel();
}

void SotwSession::abandon() {
  if (client_ == nullptr) return;
  // A write to a client that doesn't read would hold the finish back.
  if (client_writing_) client_->cancel();
  std::exchange(client_, nullptr)->finish(ending_ ? end_ : grpc::Status(grpc::UNAVAILABLE, "the relay is gone"));
}

void SotwSession::release() {
  if (!std::exchange(released_, true)) upstream_->release();
}

void SotwSession::finish_client() {
  std::exchange(client_, nullptr)->finish(end_);
  over_if_both_gone();
}

void SotwSession::over_if_both_gone() {
  if (client_ == nullptr && upstream_ == nullptr) owner_.on_over(id_);
}

}  // namespace hawser::xds
