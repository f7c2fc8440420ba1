// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/health.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "proxy/accept_queues.h"
#include "proxy/counter_keeper.h"
#include "proxy/history.h"
#include "proxy/memory_room.h"
#include "proxy/process_watch.h"
#include "proxy/replacement.h"
#include "proxy/supervision.h"

namespace hawser::proxy {

// What: keeps one proxy running and says when it may be given traffic. It decides by supervision.h and acts through the
// host (start, signal, reap), the driver (probe, drain) and the watcher (its end). Destroying it leaves the proxy
// alone, and a later one adopts it: a restart of hawserd touches no traffic. Threading: on the loop; on_live, on_down
// and done run from the loop, never from within a call, and not once the supervisor is destroyed, which any of them may
// do. Failure: see supervision.h, for a restart hand_over.h, HWS-PX-020 (one is under way) and HWS-PX-034 (there's
// nothing to call off); reported as the health item "proxy". Metrics:
// hawser_proxy_transitions_total{to}, hawser_proxy_starts_total, hawser_proxy_exits_total{status}, hawser_proxy_live,
// hawser_proxy_restart_seconds, hawser_proxy_crashes_total{cause}, hawser_proxy_backoff_seconds,
// hawser_proxy_rollbacks_total{cause}, hawser_proxy_restarts_total{result}, hawser_proxy_hand_overs_total{hand_over},
// hawser_proxy_hand_over_seconds, hawser_proxy_refused_seconds, hawser_proxy_gates_total{gate,result}.
class Supervisor {
 public:
  struct Options : SupervisionOptions {
    // The bootstrap for a generation, JSON; made anew for each start.
    std::function<std::string(const std::string& generation)> bootstrap;
    // Why a new one wouldn't know what to serve; empty: it would. None: it always does.
    std::function<std::string()> unprepared;
    unsigned concurrency = 0;  // as configured
    std::function<std::optional<MemoryRoom>(const std::string& generation, pid_t pid)> room = memory_room;
    History* history = nullptr;             // outlives the supervisor; none: nothing is kept
    std::optional<HandOverKind> hand_over;  // where a request doesn't say; none: chosen
    bool cold_allowed = false;              // may the choice be a planned cold start?
    std::function<bool()> queues_move = accept_queues_move;
    std::chrono::milliseconds canary{5000};
    std::chrono::milliseconds drain{5000};  // of a generation that is replaced, as the driver has it
    CounterKeeper* counters = nullptr;      // the same as history; none: a scrape is of the serving generation alone
    ConfigFeed* feed = nullptr;             // the same; none: a hand-over knows nothing of the configuration
    unsigned hand_overs_per_hour = 0;       // that may be asked for; 0: any number
    // After the end of a predecessor, before the next hot restart.
    std::chrono::milliseconds rest{3000};
  };
  using OnLive = std::function<void(const std::string& generation, pid_t pid)>;
  using OnDown = std::function<void(const std::string& reason)>;
  struct Restarted {
    std::string old_generation;  // empty: none ran
    pid_t old_pid = 0;
    std::string generation;
    pid_t pid = 0;
    std::string version;
    std::chrono::milliseconds took{0};  // from the request to the take-over
    HandOverKind hand_over = HandOverKind::kHotRestart;
    std::string why;  // this one
    std::vector<Gate> gates;
    std::optional<std::chrono::milliseconds> refused;  // planned cold: as long nobody listened, at most
    bool plan = false;                                 // nothing was done
    std::optional<Error> refusal;                      // of a plan: what stands against it
  };

  struct Status {
    std::string generation;  // empty: none
    pid_t pid = 0;
    std::string state;  // LIVE when it is; else the phase (STARTING, …)
    Loop::Wall since;
    std::string version;
    unsigned concurrency = 0;
    std::string binary_sha256;
    std::string proxy_state;  // what the proxy last said of itself
    bool adopted = false;
    std::vector<Listener> listeners;
  };

  // One that runs.
  struct View {
    std::string generation;
    pid_t pid = 0;     // 0: not known
    std::string role;  // serving, starting, draining
    std::string state;
    Loop::Wall since;
    std::string binary_sha256;
    std::string version;
    std::string came_by;  // cold start, hot restart, adopted
    std::optional<Loop::Wall> ends_by;
  };

  Supervisor(Loop& loop, GenerationHost& host, ProxyDriver& driver, ProcessWatcher& watcher, Options options,
             HealthSink& health, Metrics& metrics);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Adopts or starts. `on_live` runs each time that the gates open, `on_down` each time that a LIVE proxy is lost.
  void start(OnLive on_live, OnDown on_down);
  // Drains for at most `drain`, then ends whatever generation runs, also one of an earlier hawserd. No on_down.
  void stop(std::chrono::seconds drain, std::function<void(hawser::Status)> done);

  // Replaces the LIVE proxy by a new one. Unless it's a planned cold start, no connection is refused, and if it fails,
  // the one that serves goes on serving. A plan answers what would happen, and changes nothing. Where none runs and the
  // next start is some time away, it's begun at once.
  void restart(HandOverRequest request, std::function<void(Result<Restarted>)> done);
  // Gives up the restart under way, if the old one still serves as if nothing had been.
  hawser::Status call_off();
  // Runs when a restart has changed the generation that serves; nothing was down.
  void on_replaced(OnLive callback) { on_replaced_ = std::move(callback); }

  // See supervision.h.
  void expect_drained(pid_t pid) { machine_.expect_drained(pid); }

  bool live() const { return machine_.live(); }
  Status status() const;
  // All that run, the serving one first.
  std::vector<View> generations() const;
  // The exposition of all generations, for the merged metrics.
  void scrape(std::function<void(Result<std::string>)> done);

 private:
  void feed(SupervisionEvent event);
  void drain_events();
  void perform(SupervisionAction& action);
  void count(const SupervisionEvent& event);
  void moved(Phase before, const std::vector<SupervisionAction>& actions);

  void run(const action::Observe&);
  void run(const action::Validate&);
  void run(const action::Launch&);
  void run(const action::Probe&);
  void run(const action::ProbeData&);
  void run(const action::Diagnose&);
  void run(const action::WatchExit& watch);
  void run(const action::BeginDrain&);
  void run(const action::Count&);
  void run(const action::Signal& signal);
  void run(const action::Reap& reap);
  void run(const action::Wake& wake);
  void run(const action::Live& event);
  void run(const action::Down& down);
  void run(const action::Report& report);
  void run(const action::Crashed& crash);
  void run(const action::GiveUp& give_up);
  void run(const action::Trust& trust);
  void run(const action::RolledBack& back);
  void run(const action::RecordExit& exit);
  void run(const action::Stopped& stopped);
  void run(const action::CallOffHandOver&);
  void run(const action::Replaced&);
  void run(const action::Retire& retire);
  HandOverOptions hand_over_options(const GenerationId& old, HandOverRequest request);
  void start_now(std::string binary_sha256, std::function<void(Result<Restarted>)> done);
  void started_now(Result<Restarted> result);
  void begin_plan(HandOverOptions options, std::function<void(Result<Restarted>)> done);
  void begin_hand_over(HandOverOptions options);
  void end_hand_over(const HandOverOutcome& outcome);
  void count_hand_over(const HandOverOutcome& outcome);
  bool anybody_listens() const;
  void show_live(bool live);
  void heal();
  void keep_gate(const Gate& gate);
  void keep_note(const std::string& reason);
  void note_good(const std::string& sha256, const std::string& why, std::function<void()> then);
  void exited(pid_t pid);
  std::vector<Counters::Generation> counted() const;
  void note_serving(const char* came_by);
  void note_retiring(const std::string& generation);
  void retired(const std::string& name, std::optional<int> status);

  // A callback that becomes an event, unless the machine has moved on or we're gone.
  template <typename Event, typename Value>
  std::function<void(Value)> answer();
  void later(std::function<void()> work);

  Loop& loop_;
  GenerationHost& host_;
  ProxyDriver& driver_;
  ProcessWatcher& watcher_;
  Options options_;
  HealthSink& health_;
  Metrics& metrics_;
  Supervision machine_;
  std::shared_ptr<bool> alive_;
  std::deque<SupervisionEvent> events_;
  bool feeding_ = false;
  std::string bootstrap_;
  std::unique_ptr<Loop::Timer> timer_;
  std::unique_ptr<ProcessWatcher::Watch> watch_;
  OnLive on_live_;
  OnDown on_down_;
  OnLive on_replaced_;
  std::unique_ptr<Replacement> replacement_;
  std::unique_ptr<Replacement> plan_;  // only looks
  std::function<void(Result<Restarted>)> on_restarted_;
  struct Starting {
    std::function<void(Result<Restarted>)> done;
    Loop::Monotonic since;
    std::unique_ptr<Loop::Timer> limit;
  };
  std::optional<Starting> starting_;  // an operator waits for it
  std::map<std::string, std::unique_ptr<Retirement>> retirements_;
  std::map<std::string, View> known_;  // what is told of those that serve or have served
  Restarted restarted_;                // what is known of the restart under way
  std::string aftermath_;              // what comes of a failed one, in words
  std::vector<std::function<void(hawser::Status)>> on_stopped_;
  Loop::Wall since_;
  Loop::Monotonic serves_since_{};  // the generation at hand
  std::optional<Loop::Monotonic> rests_until_;
  std::deque<Loop::Monotonic> hand_overs_;  // within the last hour, those that weren't refused
  std::unique_ptr<StandIn> stand_in_;       // of its predecessor
};

}  // namespace hawser::proxy
