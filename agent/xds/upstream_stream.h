// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "dial/route.h"
#include "xds/handover.h"
#include "xds/options.h"

namespace hawser::xds {

// What: one ADS stream to the control plane over a connection of its own, so that each attempt uses the current
// certificate. It moves buffers; all judgement is elsewhere.
// Threading: the methods on the strand; the callbacks come on gRPC's threads and must only post. To be destroyed after
// `done`, and never on one of gRPC's threads: the last channel joins them.
// Failure: the stream ends, and `done` says how.
class UpstreamStream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  enum class Method { kDelta, kSotw };
  struct Callbacks {
    std::function<void(bool ok, grpc::ByteBuffer buffer)> read;
    std::function<void(bool ok)> written;
    // `pushback`: for how long the plane wants to be left alone, if it said so.
    std::function<void(grpc::Status status, std::optional<std::chrono::milliseconds> pushback)> done;
  };

  // Without a route, options.dial_target is dialled. Nothing happens before connect() or start().
  static std::unique_ptr<UpstreamStream> make(Method method, const UpstreamOptions& options,
                                              const Credentials& credentials, const std::string& token,
                                              const std::optional<dial::Route>& route, Callbacks callbacks);

  // Opens the connection alone; connected() becomes true, or not.
  void connect() { (void)channel_->GetState(true); }
  bool connected();
  // As far as connected() has seen.
  bool was_connected() const { return was_connected_; }
  // Opens the stream, with the first read under way. Connects if need be.
  void start();
  bool started() const { return started_; }
  // Has the plane said that it wants this connection to end (GOAWAY)? gRPC tells by no longer counting on it.
  bool draining();

  // One read and one write at a time; not after release().
  void read();
  void write(grpc::ByteBuffer buffer);
  void half_close();
  // Any time, also after the end.
  void cancel() { context_.TryCancel(); }
  // No more calls of the above but cancel(); `done` follows once what is under way has ended. Once only.
  void release();
  // After release(): has `done` been called within this time? Once only.
  bool wait_done(std::chrono::milliseconds within) {
    return ended_->get_future().wait_for(within) == std::future_status::ready;
  }
  std::string peer() const { return context_.peer(); }

 private:
  explicit UpstreamStream(Callbacks callbacks) : callbacks_(std::move(callbacks)) {}
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  Handover handover_;
  Callbacks callbacks_;
  grpc::ClientContext context_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;
  Method method_ = Method::kDelta;
  bool started_ = false;
  bool was_connected_ = false;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  std::shared_ptr<std::promise<void>> ended_ = std::make_shared<std::promise<void>>();
};

}  // namespace hawser::xds
