// SPDX-License-Identifier: Apache-2.0
#include "xds/upstream.h"

#include "base/backoff.h"
#include "base/log.h"
#include "dial/proxy_error.h"
#include "xds/upstream_error.h"

namespace hawser::xds {
namespace {

constexpr std::chrono::seconds kCloseTimeout{1};
constexpr std::chrono::seconds kLetGoTimeout{5};

void let_go(std::unique_ptr<UpstreamStream> stream) {
  if (stream == nullptr || !stream->started() || stream->wait_done(kLetGoTimeout)) return;
  // gRPC still calls it some day: better a leak at the end of the process than a crash.
  log::error("gRPC doesn't let go of the control plane's stream");
  (void)stream.release();
}

ReconnectPolicy make_policy(const UpstreamOptions& options) {
  ReconnectPolicy::Options out;
  out.base = options.backoff_base;
  out.cap = options.backoff_cap;
  out.spread = options.reconnect_spread;
  out.good_after = options.good_after;
  out.window = 4 * options.backoff_cap;
  return ReconnectPolicy(out, random_seed());
}

}  // namespace

Upstream::Upstream(Loop& strand, User& user, UpstreamOptions options, Post post)
    : strand_(strand),
      user_(user),
      options_(std::move(options)),
      post_(std::move(post)),
      policy_(make_policy(options_)),
      watch_(strand, options_.first_response_timeout, options_.silence_is_consent,
             {[this](const std::string& what) {
                fail(Error(Code::kDeadlineExceeded, "HWS-XDS-009",
                           "the control plane at " + where() + " doesn't answer" + (what.empty() ? "" : " for " + what),
                           "check that it is an ADS v3 server and not overloaded"));
              },
              [this] { return stream_ != nullptr && !released_ && (stream_->connected() || stream_->was_connected()); },
              [this] { stand(); }}) {}

Upstream::~Upstream() {
  abandon();
  for (auto& [number, stream] : retiring_) let_go(stream.take());
  let_go(std::move(stream_));
}

void Upstream::start() {
  if (state_ != State::kIdle) return;
  watch_drain();
  connect();
}

std::string Upstream::where() const {
  return route_ ? route_->text() : options_.dial_target;
}

void Upstream::connect() {
  state_ = State::kFetching;
  timer_.reset();
  policy_.attempted(strand_.now());
  user_.fetch_material(++attempt_);
}

std::optional<Error> Upstream::unfit(const Material& material) const {
  if (!material.route) {
    const Error& error = material.route.error();
    return error.id() == "HWS-DL-001" ? Error(error.code(), "HWS-XDS-001", error.message(), error.hint()) : error;
  }
  // gRPC would take the system's roots instead of none.
  if (material.credentials.roots_pem && material.credentials.roots_pem->empty())
    return Error(Code::kFailedPrecondition, "HWS-TR-008", "each root of the control plane is excluded from trust",
                 "set control_plane.root to the mesh's present root, or take it off trust.exclude");
  const bool has_token = material.token && !material.token->empty();
  if (!material.credentials.key_pem.empty() || has_token) return std::nullopt;
  Error error(Code::kUnauthenticated, "HWS-XDS-008",
              "there is neither a certificate nor a token to show to the control plane",
              "create a new token for the host and join again");
  if (!material.token) error.because(material.token.error());
  return error;
}

void Upstream::on_material(std::uint64_t attempt, const Material& material) {
  if (attempt != attempt_) return;
  if (moving_ && state_ == State::kOpen && next_.stream == nullptr) return prepare_move(material);
  if (state_ != State::kFetching) return;
  elsewhere_ = material.elsewhere;
  if (const auto error = unfit(material)) {
    user_.on_upstream_failed(*error);
    ReconnectPolicy::End end;
    end.code = error->code();
    retry(end);
    return;
  }
  number_ = ++numbers_;
  route_ = *material.route;
  stream_ = make_stream(number_, material);
  begin();
}

std::unique_ptr<UpstreamStream> Upstream::make_stream(std::uint64_t number, const Material& material) {
  UpstreamStream::Callbacks callbacks;
  callbacks.read = [post = post_, number](bool ok, grpc::ByteBuffer buffer) {
    post([number, ok, buffer = std::move(buffer)](Upstream& upstream) { upstream.on_read(number, ok, buffer); });
  };
  callbacks.written = [post = post_, number](bool ok) {
    post([number, ok](Upstream& upstream) { upstream.on_written(number, ok); });
  };
  callbacks.done = [post = post_, number](grpc::Status status, std::optional<std::chrono::milliseconds> pushback) {
    post([number, status = std::move(status), pushback](Upstream& upstream) {
      upstream.on_done(number, status, pushback);
    });
  };
  return UpstreamStream::make(UpstreamStream::Method::kDelta, options_, material.credentials,
                              material.token ? *material.token : std::string(), *material.route, std::move(callbacks));
}

void Upstream::begin() {
  state_ = State::kOpen;
  reading_ = true;
  writing_ = released_ = closing_ = half_closed_ = stands_ = false;
  failure_.reset();
  settle_timer_.reset();
  ++opened_;
  stream_->start();
  watch_.opened();
  user_.on_upstream_opened();
}

void Upstream::write(grpc::ByteBuffer message, const Expectation& expectation) {
  writing_ = true;
  watch_.sent(expectation);
  stream_->write(std::move(message));
}

void Upstream::read_next() {
  if (stream_ == nullptr || released_ || reading_) return;
  reading_ = true;
  stream_->read();
}

// The stream is one to rely on.
void Upstream::stand() {
  if (std::exchange(stands_, true)) return;
  ever_stood_ = true;
  token_was_refused_ = false;
  stood_at_ = strand_.now();
  end_retiring();
  if (route_) user_.on_route_tried(*route_, std::nullopt);
  const std::string peer = stream_->peer();
  user_.on_upstream_connected(peer);
  if (!short_streams_.alarmed()) return user_.on_upstream_settled(peer);
  settle_timer_ = strand_.after(options_.good_after, [this, peer] {
    short_streams_.settled();
    user_.on_upstream_settled(peer);
  });
}

void Upstream::on_read(std::uint64_t number, bool ok, grpc::ByteBuffer message) {
  if (auto* old = retiring(number)) return old->on_read(ok);
  if (number != number_ || stream_ == nullptr) return;
  reading_ = false;
  if (!ok) {
    release();
    return;
  }
  // What still comes while we close was never answered, so the next stream brings it again.
  if (closing_) {
    read_next();
    return;
  }
  watch_.answered();
  user_.on_upstream_message(std::move(message));
  if (!failure_) stand();
}

void Upstream::on_written(std::uint64_t number, bool ok) {
  if (auto* old = retiring(number)) return old->on_written(ok);
  if (number != number_ || stream_ == nullptr) return;
  writing_ = false;
  if (!ok) {
    // The stream is dead; a read finds out, also when none was due because the proxy is slow.
    read_next();
  } else if (closing_) {
    close();
  } else {
    user_.on_upstream_writable();
    if (writable()) watch_.written();
  }
}

void Upstream::release() {
  if (!std::exchange(released_, true)) stream_->release();
}

void Upstream::on_done(std::uint64_t number, const grpc::Status& status,
                       std::optional<std::chrono::milliseconds> pushback) {
  if (retiring_.erase(number) > 0) return;
  if (number != number_ || stream_ == nullptr) return;
  stream_.reset();
  timer_.reset();
  settle_timer_.reset();
  move_timer_.reset();
  moving_ = false;
  next_ = Next();
  watch_.closed();
  user_.on_upstream_closed();
  if (stopping_) {
    state_ = State::kStopped;
    user_.on_upstream_stopped();
    return;
  }
  if (closing_ && !failure_) {
    connect();
    return;
  }
  if (stands_) short_streams_.ended(strand_.now() - stood_at_, options_.good_after);
  report_end(status);
  ReconnectPolicy::End end;
  end.code = static_cast<Code>(status.error_code());
  end.pushback = pushback;
  if (stands_) end.good_for = strand_.now() - stood_at_;
  retry(end);
}

void Upstream::report_end(const grpc::Status& status) {
  const bool routine =
      status.ok() || status.error_code() == grpc::UNAVAILABLE || status.error_code() == grpc::CANCELLED;
  UpstreamOptions named = options_;
  named.dial_target = where();
  if (!failure_ && stands_ && routine && short_streams_.alarmed()) {
    user_.on_upstream_failed(make_short_streams_error(short_streams_.count(), status.error_message(), named));
    return;
  }
  // Planes close streams that have grown old (istiod: every 30 minutes): no alarm unless the next one fails too.
  if (!failure_ && stands_ && routine) {
    log::info("the control plane's stream ended; reconnecting",
              {{"address", where()}, {"cause", status.error_message()}});
    return;
  }
  Error error = failure_ ? *failure_ : make_upstream_error(status.error_code(), status.error_message(), named);
  if (route_ && !failure_)
    if (const auto proxy = dial::proxy_error(status.error_message(), *route_)) error = *proxy;
  if (route_) user_.on_route_tried(*route_, error);
  // The token is read again for the next stream: it may just have been replaced.
  if (error.code() == Code::kUnauthenticated && ever_stood_ && !std::exchange(token_was_refused_, true)) {
    log::info("the control plane refused the credentials; trying with those on the disk",
              {{"cause", status.error_message()}});
    return;
  }
  user_.on_upstream_failed(error);
}

void Upstream::retry(ReconnectPolicy::End end) {
  state_ = State::kWaiting;
  end.elsewhere = elsewhere_;
  const auto wait = policy_.ended(end, strand_.now());
  timer_ = strand_.after(wait, [this] { connect(); });
  user_.on_upstream_waiting(wait);
}

void Upstream::reconnect(const std::string& reason) {
  log::info("re-opening the control plane's stream", {{"reason", reason}});
  if (state_ == State::kWaiting) {
    connect();
  } else if (state_ == State::kOpen && !closing_) {
    close();
  }
}

void Upstream::close() {
  if (!std::exchange(closing_, true)) {
    timer_ = strand_.after(kCloseTimeout, [this] {
      if (stream_) stream_->cancel();
    });
  }
  if (!writing_ && !released_ && !std::exchange(half_closed_, true)) stream_->half_close();
  read_next();
}

void Upstream::fail(Error error) {
  if (stream_ == nullptr) return;
  failure_ = std::move(error);
  stream_->cancel();
  read_next();
}

void Upstream::stop() {
  if (std::exchange(stopping_, true)) return;
  drain_timer_.reset();
  move_timer_.reset();
  next_ = Next();
  end_retiring();
  if (stream_ == nullptr) {
    timer_.reset();
    state_ = State::kStopped;
    user_.on_upstream_stopped();
    return;
  }
  close();
}

void Upstream::abandon() {
  for (auto* timer : {&timer_, &settle_timer_, &drain_timer_, &move_timer_, &retire_timer_}) timer->reset();
  watch_.closed();
  state_ = State::kStopped;
  next_ = Next();
  for (auto& [number, stream] : retiring_) stream.abandon();
  if (stream_ == nullptr) return;
  stream_->cancel();
  release();
}

}  // namespace hawser::xds
