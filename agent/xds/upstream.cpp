// SPDX-License-Identifier: Apache-2.0
#include "xds/upstream.h"

#include "base/backoff.h"
#include "base/log.h"
#include "xds/upstream_error.h"

namespace hawser::xds {
namespace {

constexpr std::chrono::seconds kCloseTimeout{1};
constexpr std::chrono::seconds kLetGoTimeout{5};

ReconnectPolicy make_policy(const UpstreamOptions& options) {
  ReconnectPolicy::Options out;
  out.base = options.backoff_base;
  out.cap = options.backoff_cap;
  out.spread = options.reconnect_spread;
  out.good_after = options.good_after;
  return ReconnectPolicy(out, random_seed());
}

}  // namespace

Upstream::Upstream(Loop& strand, User& user, UpstreamOptions options, Post post)
    : strand_(strand),
      user_(user),
      options_(std::move(options)),
      post_(std::move(post)),
      policy_(make_policy(options_)) {}

Upstream::~Upstream() {
  abandon();
  if (stream_ == nullptr || stream_->wait_done(kLetGoTimeout)) return;
  // gRPC still calls it some day: better a leak at the end of the process than a crash.
  log::error("gRPC doesn't let go of the control plane's stream");
  (void)stream_.release();
}

void Upstream::start() {
  if (state_ == State::kIdle) connect();
}

void Upstream::connect() {
  state_ = State::kFetching;
  policy_.attempted(strand_.now());
  timer_.reset();
  user_.fetch_material(++attempt_);
}

void Upstream::on_material(std::uint64_t attempt, const Credentials& credentials, const Result<std::string>& token) {
  if (state_ != State::kFetching || attempt != attempt_) return;
  const bool has_token = token && !token->empty();
  if (credentials.key_pem.empty() && !has_token) {
    Error error(Code::kUnauthenticated, "HWS-XDS-008",
                "there is neither a certificate nor a token to show to the control plane",
                "create a new token for the host and join again");
    if (!token) error.because(token.error());
    user_.on_upstream_failed(error);
    retry({Code::kUnauthenticated, std::nullopt, std::nullopt});
    return;
  }
  open(credentials, token ? *token : std::string());
}

void Upstream::open(const Credentials& credentials, const std::string& token) {
  state_ = State::kOpen;
  const std::uint64_t number = ++number_;
  reading_ = true;
  writing_ = released_ = closing_ = half_closed_ = responded_ = connected_ = false;
  failure_.reset();
  opened_at_ = strand_.now();
  UpstreamStream::Callbacks callbacks;
  callbacks.read = [post = post_, number](bool ok, grpc::ByteBuffer buffer) {
    post([number, ok, buffer = std::move(buffer)](Upstream& upstream) { upstream.on_read(number, ok, buffer); });
  };
  callbacks.written = [post = post_, number](bool ok) {
    post([number, ok](Upstream& upstream) { upstream.on_written(number, ok); });
  };
  callbacks.done = [post = post_, number](grpc::Status status) {
    post([number, status = std::move(status)](Upstream& upstream) { upstream.on_done(number, status); });
  };
  stream_ = UpstreamStream::open(UpstreamStream::Method::kDelta, options_, credentials, token, std::move(callbacks));
  timer_ = strand_.after(options_.first_response_timeout, [this] {
    fail(Error(Code::kDeadlineExceeded, "HWS-XDS-009",
               "the control plane at " + options_.dial_target + " doesn't answer",
               "check that it is an ADS v3 server and not overloaded"));
  });
  user_.on_upstream_opened();
}

void Upstream::write(grpc::ByteBuffer message) {
  writing_ = true;
  stream_->write(std::move(message));
}

void Upstream::read_next() {
  if (stream_ == nullptr || released_ || reading_) return;
  reading_ = true;
  stream_->read();
}

void Upstream::on_read(std::uint64_t number, bool ok, grpc::ByteBuffer message) {
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
  const bool first = !std::exchange(responded_, true);
  if (first) timer_.reset();
  user_.on_upstream_message(std::move(message));
  if (first && !failure_) on_first_response();
}

void Upstream::on_first_response() {
  const std::string peer = stream_->peer();
  connected_ = true;
  user_.on_upstream_connected(peer);
  if (!short_streams_.alarmed()) {
    user_.on_upstream_settled(peer);
  } else if (!closing_) {
    timer_ = strand_.after(options_.good_after, [this, peer] {
      short_streams_.settled();
      user_.on_upstream_settled(peer);
    });
  }
}

void Upstream::on_written(std::uint64_t number, bool ok) {
  if (number != number_ || stream_ == nullptr) return;
  writing_ = false;
  if (!ok) {
    // The stream is dead; a read finds out, also when none was due because the proxy is slow.
    read_next();
  } else if (closing_) {
    close();
  } else {
    user_.on_upstream_writable();
  }
}

void Upstream::release() {
  if (!std::exchange(released_, true)) stream_->release();
}

void Upstream::on_done(std::uint64_t number, const grpc::Status& status) {
  if (number != number_ || stream_ == nullptr) return;
  stream_.reset();
  timer_.reset();
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
  if (connected_) short_streams_.ended(strand_.now() - opened_at_, options_.good_after);
  report_end(status);
  ReconnectPolicy::End end;
  end.code = static_cast<Code>(status.error_code());
  if (responded_) end.good_for = strand_.now() - opened_at_;
  retry(end);
}

void Upstream::report_end(const grpc::Status& status) {
  if (failure_) {
    user_.on_upstream_failed(*failure_);
    return;
  }
  const bool routine =
      status.ok() || status.error_code() == grpc::UNAVAILABLE || status.error_code() == grpc::CANCELLED;
  if (responded_ && routine && short_streams_.alarmed()) {
    user_.on_upstream_failed(make_short_streams_error(short_streams_.count(), status.error_message(), options_));
    return;
  }
  // Planes close streams that have grown old (istiod: every 30 minutes): no alarm unless the next one fails too.
  if (responded_ && routine) {
    log::info("the control plane's stream ended; reconnecting",
              {{"address", options_.dial_target}, {"cause", status.error_message()}});
    return;
  }
  user_.on_upstream_failed(make_upstream_error(status.error_code(), status.error_message(), options_));
}

void Upstream::retry(const ReconnectPolicy::End& end) {
  state_ = State::kWaiting;
  timer_ = strand_.after(policy_.ended(end, strand_.now()), [this] { connect(); });
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
  if (stream_ == nullptr) {
    timer_.reset();
    state_ = State::kStopped;
    user_.on_upstream_stopped();
    return;
  }
  close();
}

void Upstream::abandon() {
  timer_.reset();
  state_ = State::kStopped;
  if (stream_ == nullptr) return;
  stream_->cancel();
  release();
}

}  // namespace hawser::xds
