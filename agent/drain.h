// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "base/result.h"
#include "drain_record.h"
#include "proxy/driver.h"
#include "proxy/hand_over_kind.h"
#include "proxy/peers.h"

namespace hawser {

// What: takes this host out of the mesh's choice by an operator's word, and brings it back. First stage: the plane is
// told "unhealthy", so that callers go elsewhere; rules, proxy and connections stay as they are, and `end` takes it
// back at once. Second stage: the proxy's inbound listeners are drained too, which a proxy can't undo: callers are
// asked to go, and after the proxy's drain time new connections are refused; `end` needs another proxy, by hot restart
// or, if that is refused, by a planned cold start; if a new one couldn't serve, the drain stands, for own programs'
// outbound traffic goes on in both stages by the one that runs. What is asked for outlives
// hawserd and the machine's boot (drain_record.h), and is done to each proxy that comes.
// Threading: on the loop. Failure: HWS-DR-001 as the health item "drain" while it lasts; HWS-DR-002 (it can't be kept:
// a restart of hawserd takes it back), HWS-DR-003 (no proxy to drain), HWS-DR-004 (it's being taken back), HWS-DR-006
// (it stands, for nobody else could serve). Metrics: hawser_draining (0 no, 1 withdrawn, 2 listeners),
// hawser_drain_connections (of callers, still open).
class Drain {
 public:
  using Done = std::function<void(Result<std::string>)>;  // describe(), as text
  struct Order {
    bool listeners = false;
    std::optional<std::chrono::milliseconds> time;  // after which nobody waits any more; absent: hear + time
    bool until_reboot = false;
  };
  // What a drain needs of the proxy.
  struct Proxy {
    struct Serving {
      std::string generation;
      pid_t pid = 0;
    };
    std::function<std::optional<Serving>()> serving;  // LIVE
    std::function<void(const std::string& generation, std::function<void(Status)>)> drain_inbound;
    std::function<void(const std::string& generation,
                       std::function<void(Result<std::vector<proxy::ListenerConnections>>)>)>
        connections;
    // Who is connected to inbound listeners at these ports; called on the slow worker.
    std::function<Result<std::vector<proxy::Peer>>(std::set<std::uint16_t>)> callers;
    std::function<void(pid_t)> expect_drained;
    std::function<void(proxy::HandOverKind, std::function<void(Status)>)> restart;
  };
  struct Context {
    Loop& loop;
    SlowWorker& slow;
    HealthSink& health;
    Metrics& metrics;
    std::string path;  // of the record
    std::string boot;
    std::chrono::milliseconds hear;  // until callers have heard that they're to go elsewhere
    std::chrono::milliseconds time;  // for their connections to end after that, where the order doesn't say
  };
  // While there's a reason, callers are to be sent elsewhere; empty: taken back.
  using Withhold = std::function<void(const std::string& reason)>;

  Drain(Context context, Proxy proxy, Withhold withhold);

  // Takes up what an earlier hawserd was told. Before the proxy is adopted.
  void start();
  // Answers when it's kept, and the proxy has been told.
  void begin(const Order& order, Done done);
  // Answers when callers may come again.
  void end(Done done);
  // Another proxy is LIVE.
  void on_serving();
  // The host leaves the mesh.
  void forget();

  bool listeners_closed() const { return record_.stage == DrainStage::kListeners; }
  // Empty: there's no drain.
  std::string reason() const;
  nlohmann::json describe() const;

 private:
  void take_up(DrainStage stage);
  void keep(std::function<void()> then);
  void drain_proxy(const Proxy::Serving& serving, Done done, unsigned tries = 1);
  void not_drained(const Error& error, Done done);
  void bring_back(proxy::HandOverKind kind, Done done);
  void not_brought_back(const Error& error, Done done);
  void another_serves(Done done);
  void taken_back(Done done);
  void look();
  void looked(const Result<std::vector<proxy::ListenerConnections>>& seen);
  void look_at_callers();
  void show();
  nlohmann::json holding() const;
  std::uint64_t inbound() const;
  std::string text() const;

  Context context_;
  Proxy proxy_;
  Withhold withhold_;
  DrainRecord record_;
  bool ever_ = false;          // there was one, in this process
  bool returning_ = false;     // end() is under way
  pid_t left_ = 0;             // the proxy that has to be replaced for it
  Done back_;                  // waits for another one, which the supervisor starts
  Loop::Monotonic give_up_{};  // trying to replace it
  std::unique_ptr<Loop::Timer> again_;
  std::optional<Error> not_kept_;
  std::optional<std::vector<proxy::ListenerConnections>> open_;
  proxy::PeerBook callers_;
  Loop::Monotonic heard_at_{};  // by callers
  Loop::Monotonic until_{};
  std::unique_ptr<Loop::Timer> timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser
