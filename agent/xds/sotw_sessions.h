// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "xds/downstream_user.h"
#include "xds/fit.h"
#include "xds/open_pace.h"
#include "xds/options.h"
#include "xds/sotw_session.h"

namespace hawser::xds {

// What: all state-of-the-world streams, each passed through to the control plane by a stream of its own. Threading: the
// strand. Failure: RESOURCE_EXHAUSTED to a client when there are too many, UNAVAILABLE before start() and after stop().
// Metrics: hawser_xds_passed_through_streams, hawser_xds_passed_through_streams_total{end}.
class SotwSessions final : public DownstreamUser, private SotwSession::Owner {
 public:
  static constexpr std::size_t kMaxStreams = 32;

  using Material = std::function<void(const hawser::xds::Material&)>;
  // What it needs of the relay around it; called on the strand.
  struct Needs {
    std::function<void(Material)> material;  // answered on the strand
    std::function<std::string()> node;       // the serving proxy's, serialised
    std::function<std::shared_ptr<Fit>(const std::string& node, const std::string& generation)> fit;
    std::function<void(std::size_t)> moved;
    std::function<void()> changed;
  };
  using Post = std::function<void(std::function<void(SotwSessions&)>)>;

  SotwSessions(Loop& strand, Metrics& metrics, Needs needs);

  void start(UpstreamOptions options, Post post);
  // Ends them all, with UNAVAILABLE.
  void stop();
  // At once, without a word to anybody; waits for gRPC to let go.
  void abandon();
  std::size_t open() const { return sessions_.size(); }

  void on_downstream_opened(std::uint64_t id, DownstreamStream& stream, const std::string& generation) override;
  void on_downstream_read(std::uint64_t id, bool ok, grpc::ByteBuffer buffer) override;
  void on_downstream_written(std::uint64_t id, bool ok) override;
  void on_downstream_cancelled(std::uint64_t id) override;

 private:
  struct Entry {
    std::unique_ptr<SotwSession> session;
    std::unique_ptr<Loop::Timer> timer;  // until upstream may be opened
    Loop::Monotonic opened_at{};
    std::string generation;  // empty: a program's
  };

  void on_upstream_wanted(std::uint64_t id) override;
  std::string node_for(const std::string& client_node) override;
  std::shared_ptr<Fit> fit_for(std::uint64_t id, const std::string& client_node) override;
  void on_moved(std::size_t bytes) override { needs_.moved(bytes); }
  void on_upstream_ended(std::uint64_t id, bool asked, const grpc::Status& status) override;
  void on_over(std::uint64_t id) override;
  void on_material(std::uint64_t id, const hawser::xds::Material& material);
  SotwSession* find(std::uint64_t id);
  void publish();

  Loop& strand_;
  Metrics& metrics_;
  Needs needs_;
  OpenPace pace_;
  std::optional<UpstreamOptions> options_;
  Post post_;
  bool stopping_ = false;
  std::map<std::uint64_t, Entry> sessions_;
};

}  // namespace hawser::xds
