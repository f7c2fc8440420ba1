// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/loop.h"
#include "base/result.h"
#include "xds/answer_watch.h"
#include "xds/reconnect_policy.h"
#include "xds/retiring_stream.h"
#include "xds/short_streams.h"
#include "xds/upstream_stream.h"

namespace hawser::xds {

// What: the connection to the control plane that is always wanted: opens a stream with fresh credentials, opens the
// next one when it ends (reconnect_policy.h), moves to a new connection before the old one goes when the plane drains
// it or a better address is there, closes it cleanly on request. One message at a time each way. Threading: the strand.
// Failure: reported to the user, and tried again for ever.
class Upstream {
 public:
  class User {
   public:
    virtual ~User() = default;
    // Calls back on the strand, through Upstream::on_material.
    virtual void fetch_material(std::uint64_t attempt) = 0;
    virtual void on_upstream_opened() = 0;
    // The plane's first message was a good one, or it may be silent and hasn't objected.
    virtual void on_upstream_connected(const std::string& peer) = 0;
    // After that, at once; later, if the streams before this one were short-lived.
    virtual void on_upstream_settled(const std::string& peer) = 0;
    virtual void on_upstream_message(grpc::ByteBuffer message) = 0;  // ends in read_next(), now or later
    virtual void on_upstream_writable() = 0;
    virtual void on_upstream_closed() = 0;
    // Instead of on_upstream_closed(): another stream takes the place of this one now; on_upstream_opened() follows.
    virtual void on_upstream_moving() = 0;
    virtual void on_upstream_waiting(std::chrono::milliseconds until_next) = 0;
    virtual void on_upstream_failed(const Error& error) = 0;
    // How an address did; no error: well.
    virtual void on_route_tried(const dial::Route& route, const std::optional<Error>& error) = 0;
    virtual void on_upstream_stopped() = 0;
  };
  using Post = std::function<void(std::function<void(Upstream&)>)>;

  Upstream(Loop& strand, User& user, UpstreamOptions options, Post post);
  ~Upstream();

  void start();
  void reconnect(const std::string& reason);
  // To a new connection, which stands before the old one is let go.
  void move(const std::string& reason);
  // Ends the stream, because of what came by it.
  void fail(Error error);
  // Half-close, then wait for the plane's end, at most a second.
  void stop();
  // At once; nothing is reported any more. Then only the destructor may follow, which waits for gRPC to let go.
  void abandon();

  void on_material(std::uint64_t attempt, const Material& material);
  bool writable() const { return stream_ != nullptr && !released_ && !writing_ && !closing_; }
  void write(grpc::ByteBuffer message, const Expectation& expectation = {});
  void read_next();
  std::uint64_t streams_opened() const { return opened_; }
  std::uint32_t attempts() const { return policy_.attempts(); }
  const std::optional<dial::Route>& route() const { return route_; }

 private:
  enum class State { kIdle, kFetching, kOpen, kWaiting, kStopped };

  // A stream that isn't the current one yet: its connection is being made.
  struct Next {
    std::uint64_t number = 0;
    std::unique_ptr<UpstreamStream> stream;
    std::optional<dial::Route> route;
    Loop::Monotonic until{};
  };

  void connect();
  std::optional<Error> unfit(const Material& material) const;
  std::string where() const;
  std::unique_ptr<UpstreamStream> make_stream(std::uint64_t number, const Material& material);
  void begin();
  void close();
  void release();
  void retry(ReconnectPolicy::End end);
  void on_read(std::uint64_t number, bool ok, grpc::ByteBuffer message);
  void on_written(std::uint64_t number, bool ok);
  void on_done(std::uint64_t number, const grpc::Status& status, std::optional<std::chrono::milliseconds> pushback);
  void report_end(const grpc::Status& status);
  void stand();
  RetiringStream* retiring(std::uint64_t number);

  void watch_drain();
  void prepare_move(const Material& material);
  void watch_move();
  void give_up_move();
  void take_over();
  void end_retiring();

  Loop& strand_;
  User& user_;
  UpstreamOptions options_;
  Post post_;
  ReconnectPolicy policy_;
  AnswerWatch watch_;
  State state_ = State::kIdle;
  std::uint64_t attempt_ = 0;
  std::uint64_t numbers_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t opened_ = 0;
  std::unique_ptr<UpstreamStream> stream_;
  std::optional<dial::Route> route_;
  bool reading_ = false;
  bool writing_ = false;
  bool released_ = false;
  bool closing_ = false;
  bool half_closed_ = false;
  bool stopping_ = false;
  bool stands_ = false;  // this stream has answered, or was silent with good reason
  bool token_was_refused_ = false;
  bool ever_stood_ = false;
  bool elsewhere_ = false;
  std::optional<Error> failure_;
  ShortStreams short_streams_;
  Loop::Monotonic stood_at_{};
  std::unique_ptr<Loop::Timer> timer_;
  std::unique_ptr<Loop::Timer> settle_timer_;

  bool moving_ = false;
  Next next_;
  std::map<std::uint64_t, RetiringStream> retiring_;
  std::optional<Loop::Monotonic> leave_at_;  // when to move away from a connection that is drained
  std::unique_ptr<Loop::Timer> drain_timer_;
  std::unique_ptr<Loop::Timer> move_timer_;
  std::unique_ptr<Loop::Timer> retire_timer_;
};

}  // namespace hawser::xds
