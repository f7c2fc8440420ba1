// SPDX-License-Identifier: Apache-2.0
#include "xds/debug_queries.h"

#include <utility>

#include "base/log.h"
#include "xds/buffers.h"
#include "xds/upstream_error.h"

namespace hawser::xds {
namespace {

constexpr std::chrono::seconds kQueryLetGoTimeout{5};

Error late(std::string what, std::string hint) {
  return Error(Code::kDeadlineExceeded, "HWS-XDS-035", std::move(what), std::move(hint));
}

}  // namespace

void DebugQueries::start(UpstreamOptions options, Post post) {
  options_ = std::move(options);
  post_ = std::move(post);
}

void DebugQueries::ask(DebugQuestion question, std::chrono::milliseconds timeout, Done done) {
  if (!options_) return done(late("the relay doesn't know its control plane yet", "hawser status"));
  if (queries_.size() >= kMaxQueries) return done(late("four questions are on their way already", "try again later"));
  auto request = make_debug_request(question, node_());
  if (!request) return done(request.error());
  const auto id = ++last_;
  Query& query = queries_[id];
  query.question = std::move(question);
  query.request = std::move(*request);
  query.done = std::move(done);
  query.timer = strand_.after(timeout, [this, id] {
    finish(id, late("the control plane doesn't answer a question of type " + queries_.at(id).request.type_url,
                    "istiod is silent about types that it doesn't know; see 'hawser status' for the connection"));
  });
  material_([this, id](const Material& material) { on_material(id, material); });
}

void DebugQueries::on_material(std::uint64_t id, const Material& material) {
  const auto found = queries_.find(id);
  if (found == queries_.end() || !found->second.done) return;
  Query& query = found->second;
  UpstreamStream::Callbacks callbacks;
  callbacks.read = [post = post_, id](bool ok, grpc::ByteBuffer buffer) {
    post([id, ok, buffer = std::move(buffer)](DebugQueries& queries) { queries.on_read(id, ok, buffer); });
  };
  callbacks.written = [](bool) {};
  callbacks.done = [post = post_, id](grpc::Status status, std::optional<std::chrono::milliseconds>) {
    post([id, status = std::move(status)](DebugQueries& queries) { queries.on_done(id, status); });
  };
  const auto route = material.route ? *material.route : std::nullopt;
  query.stream = UpstreamStream::make(UpstreamStream::Method::kSotw, *options_, material.credentials,
                                      material.token ? *material.token : std::string(), route, std::move(callbacks));
  query.stream->start();
  query.stream->write(to_buffer(query.request.bytes));
}

void DebugQueries::on_read(std::uint64_t id, bool ok, const grpc::ByteBuffer& buffer) {
  const auto found = queries_.find(id);
  if (found == queries_.end() || found->second.released) return;
  Query& query = found->second;
  if (!ok) {
    query.released = true;
    query.stream->release();
    return;
  }
  finish(id, debug_json(query.question, query.request, to_bytes(buffer).value_or("\xff")));
}

void DebugQueries::on_done(std::uint64_t id, const grpc::Status& status) {
  const auto found = queries_.find(id);
  if (found == queries_.end()) return;
  auto done = std::move(found->second.done);
  const Error error = refused(found->second, status);
  queries_.erase(found);
  if (done) done(error);
}

void DebugQueries::finish(std::uint64_t id, Result<std::string> answer) {
  const auto found = queries_.find(id);
  if (found == queries_.end()) return;
  Query& query = found->second;
  const auto done = std::exchange(query.done, nullptr);
  query.timer.reset();
  if (query.stream == nullptr) {
    queries_.erase(found);
  } else {
    query.stream->cancel();
    if (!std::exchange(query.released, true)) query.stream->release();
  }
  if (done) done(std::move(answer));
}

Error DebugQueries::refused(const Query& query, const grpc::Status& status) const {
  if (status.error_code() == grpc::PERMISSION_DENIED || status.error_code() == grpc::UNAUTHENTICATED) {
    return Error(static_cast<Code>(status.error_code()), "HWS-XDS-034",
                 "the control plane doesn't answer '" + query.question.type + "' to this host",
                 "istiod shows workloads syncz, config_dump, edsz and ndsz of their own namespace only")
        .because(Error(static_cast<Code>(status.error_code()), "", status.error_message()));
  }
  return make_upstream_error(status.error_code(), status.error_message(), *options_);
}

void DebugQueries::abandon() {
  for (auto& [id, query] : queries_) {
    if (query.stream == nullptr) continue;
    query.stream->cancel();
    if (!std::exchange(query.released, true)) query.stream->release();
    if (query.stream->wait_done(kQueryLetGoTimeout)) continue;
    log::error("gRPC doesn't let go of a question to the control plane");
    (void)query.stream.release();
  }
  queries_.clear();
}

}  // namespace hawser::xds
