// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "xds/options.h"
#include "xds/upstream_stream.h"

namespace hawser::xds {

class DownstreamStream;
class Fit;

// What: one state-of-the-world stream of a client, and the stream to the control plane that is its alone. Messages pass
// unread but for their type; the next one is read when the other side has taken the last, so a slow side slows the
// other and nothing queues up. Changed are the first request, which tells the host's node, and responses that hold what
// an Envoy lacks of Istio's own (`compat.istio_extensions: strip`). Upstream is opened with the first request, so that
// a client that asks for nothing costs the plane nothing. Threading: the relay's strand. Failure: whatever ends one
// half ends the other; the client gets the plane's status and connects again by itself.
class SotwSession {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // Ends in open(), now or later.
    virtual void on_upstream_wanted(std::uint64_t id) = 0;
    virtual std::string node_for(const std::string& client_node) = 0;
    // Null: all reaches it as it came.
    virtual std::shared_ptr<Fit> fit_for(std::uint64_t id, const std::string& client_node) = 0;
    virtual void on_moved(std::size_t bytes) = 0;
    // `asked`: the client or we ended it.
    virtual void on_upstream_ended(std::uint64_t id, bool asked, const grpc::Status& status) = 0;
    // Both halves are gone; it may be destroyed now.
    virtual void on_over(std::uint64_t id) = 0;
  };
  using Post = std::function<void(std::function<void(SotwSession&)>)>;

  SotwSession(std::uint64_t id, DownstreamStream& client, Owner& owner, Post post);
  // Waits for gRPC to let go of the upstream half.
  ~SotwSession();

  void start();
  void open(const UpstreamOptions& options, const Material& material);
  // Ends both halves. `at_once`: also when the client doesn't take what is on its way to it.
  void end(const grpc::Status& status, bool at_once);
  // At once, without a word to anybody; then only the destructor may follow.
  void abandon();

  void on_read(bool ok, const grpc::ByteBuffer& buffer);
  void on_written(bool ok);
  void on_cancelled();

  bool waiting() const { return !ending_ && upstream_ == nullptr && held_.has_value(); }
  bool answered() const { return answered_; }

 private:
  void on_upstream_read(bool ok, grpc::ByteBuffer buffer);
  void on_upstream_written(bool ok);
  void on_upstream_done(const grpc::Status& status);
  void pass_on(grpc::ByteBuffer request);
  // The response as this client gets it.
  grpc::ByteBuffer fitted(const std::string& type_url, grpc::ByteBuffer response);
  void release();
  void finish_client();
  void over_if_both_gone();

  std::uint64_t id_;
  DownstreamStream* client_;
  Owner& owner_;
  Post post_;
  std::unique_ptr<UpstreamStream> upstream_;
  std::optional<grpc::ByteBuffer> held_;  // the first request, until there is an upstream
  std::string client_node_;
  std::shared_ptr<Fit> fit_;
  bool node_told_ = false;
  bool half_closed_ = false;
  bool client_writing_ = false;
  bool upstream_reading_ = false;
  bool released_ = false;
  bool answered_ = false;
  bool ending_ = false;
  grpc::Status end_;
};

}  // namespace hawser::xds
