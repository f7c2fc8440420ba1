// SPDX-License-Identifier: Apache-2.0
#include "xds/core.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"
#include "xds/buffers.h"
#include "xds/downstream_stream.h"
#include "xds/expectation.h"
#include "xds/fit.h"

namespace hawser::xds {
namespace {

// Generations that overlap are two or three; more is a proxy that leaks streams.
constexpr std::size_t kMaxSessions = 64;

// A later generation of the proxy finds these in the cache without the plane; the last one is the agent's own.
std::vector<std::string> eager(const Relay::Options& options) {
  std::vector<std::string> out = {std::string(kClusterType), std::string(kListenerType)};
  if (options.proxy_config) out.emplace_back(kProxyConfigType);
  return out;
}

}  // namespace

Core::Core(Loop& strand, Metrics& metrics, CoreObserver& observer, Relay::Options options)
    : strand_(strand),
      metrics_(metrics),
      observer_(observer),
      options_(options),
      compat_(options.strip_istio_extensions, metrics,
              [&observer](const std::string& detail, const std::optional<Error>& error) {
                observer.on_compat(detail, error);
              }),
      gate_(options.permits, metrics),
      hub_(eager(options_)),
      sotw_(strand, metrics, sotw_needs()),
      debug_(
          strand, [this](SotwSessions::Material use) { need_material(std::move(use)); }, [this] { return node_; }),
      oddities_(metrics),
      trimmer_(strand) {}

void Core::need_material(SotwSessions::Material use) {
  observer_.need_material([use = std::move(use)](Core&, const Material& material) { use(material); });
}

SotwSessions::Needs Core::sotw_needs() {
  SotwSessions::Needs needs;
  needs.material = [this](SotwSessions::Material use) { need_material(std::move(use)); };
  needs.node = [this] { return node_; };
  needs.fit = [this](const std::string& node, const std::string& generation) {
    return Fit::make(compat_, gate_, node, generation);
  };
  needs.moved = [this](std::size_t bytes) { trimmer_.moved(bytes); };
  needs.changed = [this] { publish(); };
  return needs;
}

void Core::start(std::string node, UpstreamOptions options, const Posts& posts) {
  if (upstream_ || stopping_) return;
  node_ = std::move(node);
  node_identity_ = node_identity(node_);
  since_ = strand_.wall();
  sotw_.start(options, posts.sotw);
  debug_.start(options, posts.debug);
  upstream_ = std::make_unique<Upstream>(strand_, *this, std::move(options), posts.upstream);
  upstream_->start();
  check_node();
  publish();
}

void Core::stop(std::function<void()> done) {
  stopping_ = true;
  stopped_ = std::move(done);
  if (upstream_) {
    upstream_->stop();
  } else {
    on_upstream_stopped();
  }
}

void Core::on_upstream_stopped() {
  std::vector<Hub::Id> ids;
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  for (const auto id : ids) end_session(id, grpc::Status(grpc::UNAVAILABLE, "the relay is stopping"), true);
  sotw_.stop();
  timer_.reset();
  trimmer_.stop();
  publish();
  if (stopped_) std::exchange(stopped_, nullptr)();
}

void Core::abandon() {
  stopping_ = true;
  timer_.reset();
  stall_timer_.reset();
  trimmer_.stop();
  if (upstream_) upstream_->abandon();
  for (auto& [id, session] : sessions_) {
    // A write to a proxy that doesn't read would hold the finish back.
    if (session.writing) session.stream->cancel();
    session.stream->finish(session.end.value_or(grpc::Status(grpc::UNAVAILABLE, "the relay is gone")));
  }
  sessions_.clear();
  sotw_.abandon();
  debug_.abandon();
}

void Core::fetch_material(std::uint64_t attempt) {
  observer_.need_material([attempt](Core& core, const Material& material) {
    if (core.upstream_) core.upstream_->on_material(attempt, material);
  });
}

void Core::set_serving(std::string generation) {
  hub_.set_serving(std::move(generation));
  review_refusals();
  check_node();
  pump();
}

void Core::set_health(std::optional<std::string> error_detail) {
  hub_.set_health(std::move(error_detail));
  pump();
}

void Core::reconnect(const std::string& reason) {
  if (upstream_) upstream_->reconnect(reason);
}

void Core::move(const std::string& reason) {
  if (upstream_) upstream_->move(reason);
}

// The plane decides by the node what a proxy gets, so the stream carries the serving proxy's. What only the proxy fills
// in is no difference; then ours stays, and nothing has to be asked for again.
void Core::check_node() {
  const auto id = hub_.serving();
  if (!upstream_ || !id) return;
  const Session& session = sessions_.at(*id);
  if (session.node.empty()) return;
  auto identity = node_identity(session.node);
  if (!identity || identity == node_identity_) return;
  node_ = session.node;
  node_identity_ = std::move(identity);
  upstream_->reconnect("the serving proxy's node differs");
}

// Upstream.

void Core::on_upstream_opened() {
  metrics_.add("hawser_xds_streams_total", "Streams opened to the control plane.");
  node_due_ = true;
  next_try_.reset();
  hub_.upstream_opened();
  oddities_.new_stream();
  pump();
  publish();
}

void Core::on_upstream_connected(const std::string& peer) {
  if (!std::exchange(connected_, true)) since_ = strand_.wall();
  peer_ = peer;
  last_error_.clear();
  trimmer_.connected();
  metrics_.set("hawser_xds_connected", "Is there a stream to the control plane that has answered?", {}, 1);
  publish();
  observer_.on_connection(true, peer);
}

// A message that the proxy hasn't taken yet was the old stream's; nothing of the new one waits for it.
void Core::on_upstream_moving() {
  ++moves_;
  metrics_.add("hawser_xds_moves_total", "Streams to the control plane that followed one which still worked.");
  hub_.upstream_closed();
  awaited_.reset();
  stall_timer_.reset();
}

void Core::on_upstream_waiting(std::chrono::milliseconds until_next) {
  next_try_ = strand_.wall() + until_next;
  publish();
}

void Core::on_route_tried(const dial::Route& route, const std::optional<Error>& error) {
  observer_.on_route_tried(route, error);
}

void Core::on_upstream_closed() {
  hub_.upstream_closed();
  awaited_.reset();
  stall_timer_.reset();
  metrics_.set("hawser_xds_connected", "Is there a stream to the control plane that has answered?", {}, 0);
  if (std::exchange(connected_, false)) {
    since_ = strand_.wall();
    observer_.on_connection(false, peer_);
  }
  publish();
}

void Core::on_upstream_failed(const Error& error) {
  last_error_ = error.to_string();
  publish();
  observer_.on_failure(error);
}

void Core::on_upstream_message(grpc::ByteBuffer message) {
  trimmer_.moved(message.Length());
  grpc::ProtoBufferReader head(&message);
  const auto envelope = scan_envelope(head);
  if (!envelope) {
    upstream_->fail(envelope.error());
    return;
  }
  if (hub_.for_agent(envelope->type_url)) return take_agent_message(*envelope, message);
  if (!hub_.asked(envelope->type_url)) {
    oddities_.unasked(envelope->type_url);
    upstream_->read_next();
    return;
  }
  oddities_.look_at(*envelope);
  const auto forwarded_to = forward(*envelope, message);
  grpc::ProtoBufferReader reader(&message);
  auto response = parse_response(reader, envelope->resources);
  if (!response) {
    upstream_->fail(response.error());
    return;
  }
  hub_.ingest(std::move(*response), forwarded_to, strand_.now());
  count_response(*envelope);
  if (!forwarded_to) upstream_->read_next();
  pump();
  publish();
}

std::optional<Hub::Id> Core::forward(const Envelope& envelope, const grpc::ByteBuffer& message) {
  const auto id = hub_.forward_to(envelope);
  if (!id) return std::nullopt;
  Session& session = sessions_.at(*id);
  if (session.writing || session.end) return std::nullopt;
  await_serving(*id);
  if (auto own = fitted(*id, envelope, message)) {
    write(session, std::move(*own));
    return id;
  }
  ++forwarded_;
  metrics_.add("hawser_xds_forwarded_total", "Messages of the control plane that the proxy got unchanged.");
  write(session, message);
  return id;
}

std::optional<grpc::ByteBuffer> Core::fitted(Hub::Id id, const Envelope& envelope, const grpc::ByteBuffer& message) {
  Fit* fit = hub_.fit(id);
  if (fit == nullptr || !Fit::concerns(envelope.type_url)) return std::nullopt;
  const auto bytes = to_bytes(message);
  auto own = bytes ? fit->delta_response(envelope.type_url, *bytes) : std::nullopt;
  if (!own) return std::nullopt;
  return to_buffer(std::move(*own));
}

void Core::await_serving(Hub::Id id) {
  awaited_ = id;
  stall_timer_ = strand_.after(options_.stall_timeout, [this] {
    log::warn("the serving proxy doesn't read its configuration stream; it will catch up from the cache");
    resume_upstream();
  });
}

void Core::resume_upstream() {
  awaited_.reset();
  stall_timer_.reset();
  if (upstream_) upstream_->read_next();
}

void Core::pump_upstream() {
  if (!upstream_ || !upstream_->writable()) return;
  auto request = hub_.next_upstream();
  if (!request) return;
  if (std::exchange(node_due_, false)) request->node = node_;
  upstream_->write(to_buffer(build_request(*request)), expectation_of(*request));
}

// Downstream.

void Core::on_downstream_opened(Hub::Id id, DownstreamStream& stream, const std::string& generation) {
  if (stopping_ || sessions_.size() >= kMaxSessions) {
    stream.finish(stopping_ ? grpc::Status(grpc::UNAVAILABLE, "the relay is stopping")
                            : grpc::Status(grpc::RESOURCE_EXHAUSTED, "too many streams"));
    return;
  }
  log::info("a proxy opened its configuration stream", {{"generation", generation}});
  sessions_.emplace(id, Session{&stream, generation, {}, false, std::nullopt});
  hub_.open(id, generation, strand_.now());
  stream.read();
  arm_timer();
  publish();
}

void Core::on_downstream_read(Hub::Id id, bool ok, grpc::ByteBuffer buffer) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second.end) return;
  if (!ok) {
    end_session(id, grpc::Status::OK, false);
    pump();
    return;
  }
  const auto bytes = to_bytes(buffer);
  const auto request = parse_request(bytes.value_or("\xff"));
  if (!request) {
    log::warn("a proxy's stream is closed", {{"cause", request.error().to_string()}});
    end_session(id, grpc::Status(grpc::INVALID_ARGUMENT, request.error().message()), false);
    pump();
    return;
  }
  handle_request(id, found->second, *request);
  found->second.stream->read();
  pump();
}

void Core::handle_request(Hub::Id id, Session& session, const Request& request) {
  if (!request.node.empty()) {
    session.node = request.node;
    hub_.set_fit(id, Fit::make(compat_, gate_, request.node, session.generation));
    publish();
    if (hub_.serving() == id) check_node();
  }
  const auto refused = [&] { return hub_.serving() == id && hub_.refusals()->outstanding(request.type_url); };
  const bool before = refused();
  const auto answer = hub_.on_request(id, request, strand_.now());
  if (!answer) {
    log::warn("a proxy's request is ignored", {{"cause", answer.error().to_string()}});
  } else if (*answer) {
    handle_answer(**answer);
  }
  if (before && !refused()) review_refusals();
}

void Core::on_downstream_written(Hub::Id id, bool ok) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  found->second.writing = false;
  if (awaited_ == id) resume_upstream();
  if (found->second.end) {
    found->second.stream->finish(*found->second.end);
    sessions_.erase(found);
  } else if (!ok) {
    end_session(id, grpc::Status::OK, false);
  }
  pump();
}

void Core::end_session(Hub::Id id, const grpc::Status& status, bool at_once) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second.end) return;
  Session& session = found->second;
  log::info("a proxy's configuration stream ended", {{"generation", session.generation}});
  hub_.close(id, strand_.now());
  session.end = status;
  if (awaited_ == id) resume_upstream();
  if (session.writing) {
    if (at_once) session.stream->cancel();
  } else {
    session.stream->finish(status);
    sessions_.erase(found);
  }
  publish();
}

void Core::write(Session& session, grpc::ByteBuffer buffer) {
  trimmer_.moved(buffer.Length());
  session.writing = true;
  session.stream->write(std::move(buffer));
}

void Core::pump() {
  for (auto& [id, session] : sessions_) {
    if (session.writing || session.end) continue;
    if (auto message = hub_.next_for(id, strand_.now())) write(session, to_buffer(std::move(message->bytes)));
  }
  pump_upstream();
  arm_timer();
}

void Core::arm_timer() {
  const auto when = stopping_ ? std::nullopt : hub_.deadline();
  if (when == armed_for_) return;
  armed_for_ = when;
  timer_.reset();
  if (!when) return;
  timer_ = strand_.after(std::max(Loop::Duration::zero(), Loop::Duration(*when - strand_.now())), [this] {
    armed_for_.reset();
    end_holds();
    hub_.on_time(strand_.now());
    pump();
  });
}

// What others see.

void Core::count_response(const Envelope& envelope) {
  const std::string& type = envelope.type_url;
  Counts& counts = counts_[type];
  ++counts.responses;
  counts.system_version = envelope.system_version;
  counts.responded_at = strand_.wall();
  const std::string label = short_name(type);
  const auto size = hub_.cache().size(type);
  metrics_.add("hawser_xds_responses_total", "Responses of the control plane.", {{"type", label}});
  metrics_.set("hawser_xds_cache_resources", "Resources in the relay's cache.", {{"type", label}},
               static_cast<double>(size.resources));
  metrics_.set("hawser_xds_cache_bytes", "Their bytes.", {{"type", label}}, static_cast<double>(size.bytes));
}

void Core::publish() {
  Relay::Status status;
  status.connected = connected_;
  status.address = peer_;
  status.streams_opened = upstream_ ? upstream_->streams_opened() : 0;
  status.last_error = last_error_;
  status.since = since_;
  status.next_try = next_try_;
  status.moves = moves_;
  status.attempts = upstream_ ? upstream_->attempts() : 0;
  if (upstream_ && upstream_->route()) {
    status.priority = upstream_->route()->priority;
    status.dialled = upstream_->route()->text();
  }
  metrics_.set("hawser_xds_attempts", "Attempts at the control plane since the last stream that was good for a while.",
               {}, status.attempts);
  metrics_.set("hawser_xds_priority", "Of the control plane's address in use; 0 is the first choice.", {},
               status.priority);
  status.downstreams = hub_.downstreams();
  status.passed_through = sotw_.open();
  for (const auto& hold : hub_.holds().all()) {
    status.holds.push_back({hold.generation, std::string(to_text(hold.what)), hold.reason,
                            strand_.wall() + (hold.until - strand_.now()), hub_.streams_of(hold.generation)});
  }
  metrics_.set("hawser_xds_holds", "Holds in force.", {}, static_cast<double>(status.holds.size()));
  status.forwarded = forwarded_;
  status.serves_snapshot = hub_.serves_snapshot();
  for (const auto& [type, counts] : counts_) status.types.push_back(type_status(type, counts));
  status.compat = compat_.status();
  metrics_.set("hawser_xds_downstreams", "Open streams of proxies.", {}, static_cast<double>(status.downstreams));
  observer_.on_status(std::move(status));
}

}  // namespace hawser::xds
