// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "xds/debug_wire.h"
#include "xds/options.h"
#include "xds/sotw_sessions.h"
#include "xds/upstream_stream.h"

namespace hawser::xds {

// What: questions about itself that the control plane is asked for an operator (`hawser xds debug`), each on a short
// state-of-the-world stream of its own: one request, one response. Threading: the strand. Failure: HWS-XDS-033 (what is
// asked or answered can't be used), 034 (the plane refuses), 035 (no answer in time, or too many at once), and those of
// the connection (upstream_error.h).
class DebugQueries {
 public:
  static constexpr std::size_t kMaxQueries = 4;

  using Done = std::function<void(Result<std::string>)>;
  using Post = std::function<void(std::function<void(DebugQueries&)>)>;

  DebugQueries(Loop& strand, std::function<void(SotwSessions::Material)> material, std::function<std::string()> node)
      : strand_(strand), material_(std::move(material)), node_(std::move(node)) {}

  void start(UpstreamOptions options, Post post);
  // `done` is called once, on the strand.
  void ask(DebugQuestion question, std::chrono::milliseconds timeout, Done done);
  // At once; waits for gRPC to let go.
  void abandon();

 private:
  struct Query {
    DebugQuestion question;
    DebugRequest request;
    Done done;
    std::unique_ptr<Loop::Timer> timer;
    std::unique_ptr<UpstreamStream> stream;
    bool released = false;
  };

  void on_material(std::uint64_t id, const Material& material);
  void on_read(std::uint64_t id, bool ok, const grpc::ByteBuffer& buffer);
  void on_done(std::uint64_t id, const grpc::Status& status);
  // Answers, and lets the stream end.
  void finish(std::uint64_t id, Result<std::string> answer);
  Error refused(const Query& query, const grpc::Status& status) const;

  Loop& strand_;
  std::function<void(SotwSessions::Material)> material_;
  std::function<std::string()> node_;
  std::optional<UpstreamOptions> options_;
  Post post_;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, Query> queries_;
};

}  // namespace hawser::xds
