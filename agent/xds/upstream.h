// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "xds/reconnect_policy.h"
#include "xds/short_streams.h"
#include "xds/upstream_stream.h"

namespace hawser::xds {

// What: the connection to the control plane that is always wanted: opens a stream with fresh credentials, opens the
// next one when it ends (reconnect_policy.h), closes it cleanly on request. One message at a time each way. Threading:
// the strand. Failure: reported to the user, and tried again for ever.
class Upstream {
 public:
  class User {
   public:
    virtual ~User() = default;
    // Calls back on the strand, through Upstream::on_material.
    virtual void fetch_material(std::uint64_t attempt) = 0;
    virtual void on_upstream_opened() = 0;
    virtual void on_upstream_connected(const std::string& peer) = 0;  // the first message was a good one
    // After that, at once; later, if the streams before this one were short-lived.
    virtual void on_upstream_settled(const std::string& peer) = 0;
    virtual void on_upstream_message(grpc::ByteBuffer message) = 0;  // ends in read_next(), now or later
    virtual void on_upstream_writable() = 0;
    virtual void on_upstream_closed() = 0;
    virtual void on_upstream_failed(const Error& error) = 0;
    virtual void on_upstream_stopped() = 0;
  };
  using Post = std::function<void(std::function<void(Upstream&)>)>;

  Upstream(Loop& strand, User& user, UpstreamOptions options, Post post);
  ~Upstream();

  void start();
  void reconnect(const std::string& reason);
  // Ends the stream, because of what came by it.
  void fail(Error error);
  // Half-close, then wait for the plane's end, at most a second.
  void stop();
  // At once; nothing is reported any more. Then only the destructor may follow, which waits for gRPC to let go.
  void abandon();

  void on_material(std::uint64_t attempt, const Credentials& credentials, const Result<std::string>& token);
  bool writable() const { return stream_ != nullptr && !released_ && !writing_ && !closing_; }
  void write(grpc::ByteBuffer message);
  void read_next();
  std::uint64_t streams_opened() const { return number_; }

 private:
  enum class State { kIdle, kFetching, kOpen, kWaiting, kStopped };

  void connect();
  void open(const Credentials& credentials, const std::string& token);
  void close();
  void release();
  void retry(const ReconnectPolicy::End& end);
  void on_read(std::uint64_t number, bool ok, grpc::ByteBuffer message);
  void on_written(std::uint64_t number, bool ok);
  void on_done(std::uint64_t number, const grpc::Status& status);
  void on_first_response();
  void report_end(const grpc::Status& status);

  Loop& strand_;
  User& user_;
  UpstreamOptions options_;
  Post post_;
  ReconnectPolicy policy_;
  State state_ = State::kIdle;
  std::uint64_t attempt_ = 0;
  std::uint64_t number_ = 0;
  std::unique_ptr<UpstreamStream> stream_;
  bool reading_ = false;
  bool writing_ = false;
  bool released_ = false;
  bool closing_ = false;
  bool half_closed_ = false;
  bool stopping_ = false;
  bool responded_ = false;
  bool connected_ = false;  // … and what came first was a good message
  std::optional<Error> failure_;
  ShortStreams short_streams_;
  Loop::Monotonic opened_at_{};
  std::unique_ptr<Loop::Timer> timer_;
};

}  // namespace hawser::xds
