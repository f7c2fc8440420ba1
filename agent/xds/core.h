// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/loop.h"
#include "base/metrics.h"
#include "xds/debug_queries.h"
#include "xds/downstream_user.h"
#include "xds/hub.h"
#include "xds/istio_compat.h"
#include "xds/oddities.h"
#include "xds/permit_gate.h"
#include "xds/relay.h"
#include "xds/sotw_sessions.h"
#include "xds/trimmer.h"
#include "xds/upstream.h"

namespace hawser::xds {

class Core;

// What the core tells the loop's side; called on the strand, must only post.
class CoreObserver {
 public:
  virtual ~CoreObserver() = default;
  // Calls `use` on the strand.
  using UseMaterial = std::function<void(Core&, const Material&)>;
  virtual void need_material(UseMaterial use) = 0;
  virtual void on_status(Relay::Status status) = 0;
  virtual void on_connection(bool connected, const std::string& address) = 0;
  // The connection is no matter of concern.
  virtual void on_settled(const std::string& address) = 0;
  virtual void on_failure(const Error& error) = 0;
  // How the host's proxies and Istio's own extensions get on (istio_compat.h).
  virtual void on_compat(const std::string& detail, const std::optional<Error>& error) = 0;
  virtual void on_route_tried(const dial::Route& route, const std::optional<Error>& error) = 0;
  // The serving proxy rejected something (then error is there), or has taken all of it again.
  virtual void on_proxy_answer(std::optional<Error> error) = 0;
  // Something was accepted since it was last asked what.
  virtual void on_accepted() = 0;
};

// What: the relay's moving part: joins the streams to the Hub's judgement. A message of the plane that may be forwarded
// is on its way to the proxy before it's parsed; the plane's next message is read when the proxy has taken it.
// Threading: everything on the strand. Failure: see Relay. Metrics: see Relay.
class Core final : public Upstream::User, private DownstreamUser {
 public:
  Core(Loop& strand, Metrics& metrics, CoreObserver& observer, Relay::Options options);

  // How gRPC's threads reach each part.
  struct Posts {
    Upstream::Post upstream;
    SotwSessions::Post sotw;
    DebugQueries::Post debug;
  };
  void start(std::string node, UpstreamOptions options, const Posts& posts);
  void stop(std::function<void()> done);
  // At once, without a word to anybody.
  void abandon();
  void set_serving(std::string generation);
  void permit(HostPermits permits) { gate_.permit(std::move(permits)); }
  void set_health(std::optional<std::string> error_detail);
  void reconnect(const std::string& reason);
  // To a new connection, before the old one is let go.
  void move(const std::string& reason);
  bool restore(std::vector<snapshot::records::Type> types);
  Relay::Accepted accepted(const std::map<std::string, std::uint64_t>& known);
  // How many open streams it concerns now.
  Result<std::size_t> hold(const Hold& hold);
  Status release(const std::string& generation, Hold::By by);
  Outlook outlook() const { return hub_.outlook(); }
  const Cache& cache() const { return hub_.cache(); }
  Upstream* upstream() { return upstream_.get(); }
  SotwSessions& sotw() { return sotw_; }
  DebugQueries& debug() { return debug_; }
  // Who judges over streams of this protocol.
  DownstreamUser& user(Protocol protocol) { return protocol == Protocol::kSotw ? sotw_ : delta(); }

 private:
  struct Session {
    DownstreamStream* stream = nullptr;
    std::string generation;
    std::string node;
    bool writing = false;
    std::optional<grpc::Status> end;  // set: finished as soon as no write is under way
  };
  struct Counts {
    std::uint64_t responses = 0;
    std::uint64_t accepted = 0;
    std::uint64_t rejected = 0;
    std::string system_version;
    std::optional<Loop::Wall> responded_at;
    std::optional<Loop::Wall> accepted_at;  // by the serving proxy
    std::optional<Loop::Wall> rejected_at;
  };

  DownstreamUser& delta() { return *this; }
  void on_downstream_opened(Hub::Id id, DownstreamStream& stream, const std::string& generation) override;
  void on_downstream_read(Hub::Id id, bool ok, grpc::ByteBuffer buffer) override;
  void on_downstream_written(Hub::Id id, bool ok) override;
  // A read is always under way, and tells.
  void on_downstream_cancelled(Hub::Id) override {}

  SotwSessions::Needs sotw_needs();
  void need_material(SotwSessions::Material use);
  void fetch_material(std::uint64_t attempt) override;
  void on_upstream_opened() override;
  void on_upstream_connected(const std::string& peer) override;
  void on_upstream_settled(const std::string& peer) override { observer_.on_settled(peer); }
  void on_upstream_message(grpc::ByteBuffer message) override;
  void on_upstream_writable() override { pump(); }
  void on_upstream_closed() override;
  void on_upstream_moving() override;
  void on_upstream_waiting(std::chrono::milliseconds until_next) override;
  void on_route_tried(const dial::Route& route, const std::optional<Error>& error) override;
  void on_upstream_failed(const Error& error) override;
  void on_upstream_stopped() override;

  // Sends whatever is due to whoever isn't busy.
  void pump();
  void pump_upstream();
  void arm_timer();
  void write(Session& session, grpc::ByteBuffer buffer);
  void end_session(Hub::Id id, const grpc::Status& status, bool at_once);
  void handle_request(Hub::Id id, Session& session, const Request& request);
  void handle_answer(const Hub::Answer& answer);
  void review_refusals();
  void check_node();
  // The message as this proxy gets it; nullopt: unchanged.
  std::optional<grpc::ByteBuffer> fitted(Hub::Id id, const Envelope& envelope, const grpc::ByteBuffer& message);
  std::optional<Hub::Id> forward(const Envelope& envelope, const grpc::ByteBuffer& message);
  void end_holds();
  void await_serving(Hub::Id id);
  void resume_upstream();
  void take_agent_message(const Envelope& envelope, const grpc::ByteBuffer& message);
  void count_response(const Envelope& envelope);
  Relay::TypeStatus type_status(const std::string& type, const Counts& counts) const;
  void publish();

  Loop& strand_;
  Metrics& metrics_;
  CoreObserver& observer_;
  Relay::Options options_;
  IstioCompat compat_;
  PermitGate gate_;
  Hub hub_;
  SotwSessions sotw_;
  DebugQueries debug_;
  std::map<Hub::Id, Session> sessions_;
  std::unique_ptr<Upstream> upstream_;
  std::string node_;
  std::optional<std::string> node_identity_;
  bool node_due_ = false;
  // The serving proxy that still has to take a forwarded message; until then the plane's next one isn't read.
  std::optional<Hub::Id> awaited_;
  std::unique_ptr<Loop::Timer> stall_timer_;
  Oddities oddities_;
  Trimmer trimmer_;
  std::unique_ptr<Loop::Timer> timer_;
  std::optional<Loop::Monotonic> armed_for_;
  bool stopping_ = false;
  std::function<void()> stopped_;

  bool connected_ = false;
  std::string peer_;
  std::string last_error_;
  Loop::Wall since_{};
  std::optional<Loop::Wall> next_try_;
  std::uint64_t moves_ = 0;
  std::uint64_t forwarded_ = 0;
  std::map<std::string, Counts, TypeOrder> counts_;
  std::set<std::string> rejected_types_;
  bool told_accepted_ = false;
};

}  // namespace hawser::xds
