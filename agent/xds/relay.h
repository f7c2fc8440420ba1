// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/extension_permits.h"
#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "xds/debug_wire.h"
#include "xds/hold.h"
#include "xds/istio_compat.h"
#include "xds/options.h"
#include "xds/outlook.h"
#include "xds/snapshot/store.h"

namespace grpc {
class CallbackGenericService;
}

namespace hawser::dial {
class Dialler;
}

namespace hawser::xds {

// What: the xDS relay: one delta ADS stream to the control plane, a cache of what it said, and delta ADS for the
// proxies of this host. The serving generation gets the plane's own messages unchanged; everyone else is served from
// the cache. A state-of-the-world stream is passed through, one to one (sotw_session.h). Without the plane, proxies
// notice nothing, and new ones start from the cache. Threading: on the loop; callbacks come on the loop. Inside, a
// strand of its own owns all state (core.h). Failure: the health item "control-plane" (HWS-XDS-001 … 011), tried again
// for ever; "proxy-config" (HWS-XDS-012) while the serving proxy rejects a response (HWS-XDS-051: it lacks an
// extension; HWS-XDS-053: its sandbox doesn't permit it); "istio-extensions" (HWS-XDS-050), see istio_compat.h.
// Metrics: hawser_xds_connected, hawser_xds_streams_total, hawser_xds_responses_total{type},
// hawser_xds_nacks_total{type}, hawser_xds_forwarded_total, hawser_xds_cache_resources{type},
// hawser_xds_cache_bytes{type}, hawser_xds_downstreams, hawser_xds_holds, hawser_xds_holds_ended_total{how},
// hawser_xds_moves_total, hawser_xds_attempts, hawser_xds_priority.
class Relay {
 public:
  struct Options {
    // Waits this long for a serving proxy that doesn't take a message before it serves that proxy from the cache.
    std::chrono::milliseconds stall_timeout{10'000};
    // Takes what only Istio's build of Envoy has out of listeners and clusters for a proxy that lacks it.
    bool strip_istio_extensions = true;
    // What the proxies' sandboxes permit, until permit() says otherwise.
    HostPermits permits{};
    // Given, it is asked of the control plane as well, and taken here: each istio.mesh.v1alpha1.ProxyConfig,
    // serialised; an empty one when the plane has none any more. Called on the strand; what it returns is the plane's
    // answer.
    std::function<hawser::Status(const std::string& config)> proxy_config{};
  };
  struct TypeStatus {
    std::string type;
    std::size_t resources = 0;
    std::size_t bytes = 0;
    std::uint64_t responses = 0;
    std::uint64_t rejected = 0;
    std::uint64_t accepted = 0;
    std::string system_version;  // the plane's, of the last response
    std::optional<Loop::Wall> responded_at;
    std::optional<Loop::Wall> accepted_at;
    std::optional<Loop::Wall> rejected_at;
    bool restored = false;  // of a snapshot; the plane hasn't spoken about it yet
  };
  struct HoldStatus {
    std::string generation;
    std::string what;  // "updates" or "listeners"
    std::string reason;
    Loop::Wall until;
    std::size_t streams = 0;  // that it concerns now
  };
  struct Status {
    bool connected = false;
    std::string address;
    std::uint64_t streams_opened = 0;
    std::string last_error;
    std::string dialled;    // the address in use or tried last, with the HTTP proxy if there is one
    unsigned priority = 0;  // of that address
    std::uint32_t attempts = 0;
    Loop::Wall since{};  // connected, or not, since then
    std::optional<Loop::Wall> next_try;
    std::uint64_t moves = 0;
    std::size_t downstreams = 0;
    std::uint64_t forwarded = 0;     // messages of the plane that a proxy got unchanged
    bool serves_snapshot = false;    // in the plane's place
    std::size_t passed_through = 0;  // state-of-the-world streams
    std::vector<TypeStatus> types;
    IstioCompatStatus compat;
    std::vector<HoldStatus> holds;
  };
  // What the serving proxy has accepted, for the last-good snapshot.
  struct Accepted {
    bool settled = false;  // the proxy has taken all that it was sent
    bool serves_snapshot = false;
    std::map<std::string, std::uint64_t> revisions;      // type → state of what is accepted of it
    std::vector<snapshot::Store::Change::Type> changed;  // without node identity
  };

  Relay(Loop& loop, Metrics& metrics, HealthSink& health, Options options);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Opens the stream, and keeps it open. `node` is a serialised envoy.config.core.v3.Node. `credentials` and `token`
  // are asked again at each attempt.
  void start(std::string node, UpstreamOptions upstream, std::function<Credentials()> credentials,
             std::function<Result<std::string>()> token);
  // From now on asks it for the way to the control plane, instead of upstream.dial_target, and tells it how that went.
  // Before start(); the dialler outlives the relay.
  void set_dialler(dial::Dialler& dialler);
  // Closes upstream, so that the plane sees a clean end, then the downstreams.
  void stop(std::function<void()> done);

  // For the local gRPC servers, which must be shut down after stop() and before the relay is destroyed: one for the
  // proxies; one for programs that speak xDS themselves, which get state of the world only.
  grpc::CallbackGenericService* service();
  grpc::CallbackGenericService* program_service();

  // The generation (request metadata x-hawser-generation) that speaks for the host.
  void set_serving(std::string generation);
  // What the proxies' sandboxes permit now (permit_gate.h). Before a generation is started that differs.
  void permit(HostPermits permits);
  // Sent now and again on each new stream.
  void report_health(bool healthy, std::string message);
  void reconnect(const std::string& reason);
  // Like reconnect(), but the new connection stands before the old one is let go.
  void move(const std::string& reason);

  // The last-good snapshot takes the control plane's place until that answers; false: it has answered already.
  void restore(std::vector<snapshot::records::Type> types, std::function<void(bool)> done);
  // Called when something was accepted; once, until accepted() is called.
  void on_accepted(std::function<void()> callback);
  // `known` are the revisions of an earlier answer: only types that differ from them come with their resources.
  void accepted(std::map<std::string, std::uint64_t> known, std::function<void(Accepted)> callback) const;

  // Withholds updates, or the listeners, from a generation, which needn't be there yet; at most `limit`, then it's
  // released by itself, logged and counted. `done` gets the number of streams that it concerns now, or HWS-XDS-032.
  void hold(std::string generation, Hold::What what, Loop::Duration limit, std::string reason,
            std::function<void(Result<std::size_t>)> done, Hold::By by = Hold::By::kOperator);
  void release(std::string generation, std::function<void(hawser::Status)> done, Hold::By by = Hold::By::kOperator);
  // What a generation that starts now would meet.
  void outlook(std::function<void(Outlook)> done) const;

  // Asks the plane about itself (debug_wire.h), on a stream of its own; the answer is a JSON document.
  void debug(DebugQuestion question, std::chrono::milliseconds timeout, std::function<void(Result<std::string>)> done);

  // The names in the cache, sorted.
  void names(const std::string& type_url, std::function<void(std::vector<std::string>)> callback) const;
  // Connected: a stream is open and has brought its first response.
  void on_connected(std::function<void(bool connected)> callback);
  // A stream, or the attempt to open one, failed; the error's cause has the plane's own code and words.
  void on_failed(std::function<void(const Error&)> callback);
  Status status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hawser::xds
