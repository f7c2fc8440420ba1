// SPDX-License-Identifier: Apache-2.0
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <sstream>

#include "load.h"

namespace hawser::hand_over {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// A channel is a connection, and after a GOAWAY the next one.
std::shared_ptr<grpc::Channel> connect(const Target& target) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // not even of what surely was never sent
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  std::ostringstream address;
  address << target.address;
  return grpc::CreateCustomChannel("ipv4:" + address.str(), grpc::InsecureChannelCredentials(), arguments);
}

grpc::ByteBuffer message() {
  const grpc::Slice slice("a message that comes back");
  return {&slice, 1};
}

std::string text_of(const grpc::Status& status) {
  return "code " + std::to_string(status.error_code()) + ": " + status.error_message();
}

// One stream after the other; a message now and then.
class Stream final {
 public:
  Stream(asio::io_context& io, Tally& tally, const Target& target, std::shared_ptr<grpc::GenericStub> stub)
      : io_(io),
        tally_(tally),
        interval_(static_cast<Nanoseconds>(1e9 / target.rate)),
        stub_(std::move(stub)),
        timer_(io) {}

  void open() {
    call_ = std::make_unique<Call>(*this);
    call_->begin(*stub_);
  }

  void stop() {
    stopped_ = true;
    if (call_) call_->context.TryCancel();
  }
  bool idle() const { return idle_; }

 private:
  class Call final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
   public:
    explicit Call(Stream& owner) : owner_(owner) {}

    void begin(grpc::GenericStub& stub) {
      stub.PrepareBidiStreamingCall(&context, "/bench.Echo/Stream", {}, this);
      AddHold();  // for the writes that a timer begins
      StartRead(&answer_);
      StartCall();
      write();
    }

    // On the io_context.
    void write() {
      if (closed_) return;
      due_ = Clock::now();
      StartWrite(&request_);
    }
    void release() { RemoveHold(); }

    grpc::ClientContext context;
    const Clock::time_point opened = Clock::now();

   private:
    void OnReadDone(bool ok) override {
      if (!ok) {
        closed_ = true;
        asio::post(owner_.io_, [this] { release(); });  // a write that is being begun there comes first
        return;
      }
      owner_.tally_.good(Kind::kStream, due_);
      StartRead(&answer_);
      asio::post(owner_.io_, [this] { owner_.schedule(this); });
    }
    void OnDone(const grpc::Status& status) override {
      asio::post(owner_.io_, [this, status] { owner_.done(status); });
    }

    Stream& owner_;
    grpc::ByteBuffer request_ = message(), answer_;
    std::atomic<Clock::time_point> due_{};
    std::atomic<bool> closed_{false};
  };

  void schedule(Call* call) {
    timer_.expires_after(interval_);
    timer_.async_wait([call](error_code error) {
      if (!error) call->write();
    });
  }

  void done(const grpc::Status& status) {
    timer_.cancel();
    if (stopped_) {
      idle_ = true;
      return;
    }
    const auto lived = Clock::now() - call_->opened;
    if (lived < std::chrono::milliseconds(50))
      tally_.failed(Kind::kStream, "at once: " + text_of(status));
    else
      tally_.ended(Kind::kStream, text_of(status), call_->opened);
    timer_.expires_after(kPauseAfterFailure);
    timer_.async_wait([this](error_code) {
      if (stopped_)
        idle_ = true;
      else
        open();
    });
  }

  asio::io_context& io_;
  Tally& tally_;
  std::chrono::nanoseconds interval_;
  std::shared_ptr<grpc::GenericStub> stub_;
  asio::steady_timer timer_;
  std::unique_ptr<Call> call_;
  bool stopped_ = false, idle_ = false;
};

class Streams final : public Load {
 public:
  static constexpr unsigned kPerConnection = 10;

  Streams(asio::io_context& io, Tally& tally, const Target& target) : io_(io) {
    std::shared_ptr<grpc::GenericStub> stub;
    for (unsigned i = 0; i < target.connections; ++i) {
      if (i % kPerConnection == 0) stub = std::make_shared<grpc::GenericStub>(connect(target));
      streams_.push_back(std::make_unique<Stream>(io, tally, target, stub));
      streams_.back()->open();
    }
  }

  void stop() override {
    for (auto& stream : streams_) stream->stop();
    const auto end = Clock::now() + kTimeout;
    while (Clock::now() < end && !std::all_of(streams_.begin(), streams_.end(), [](auto& s) { return s->idle(); }))
      io_.run_one_for(std::chrono::milliseconds(100));
  }

 private:
  asio::io_context& io_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace

std::unique_ptr<Load> start_streams(asio::io_context& io, Tally& tally, const Target& target) {
  return std::make_unique<Streams>(io, tally, target);
}

}  // namespace hawser::hand_over
