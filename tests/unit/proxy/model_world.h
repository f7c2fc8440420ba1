// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "proxy/generation_name.h"
#include "proxy/hand_over.h"
#include "proxy/supervision.h"

// What the exploration drives: both machines, put together as supervisor.h and replacement.h do it, in a world of
// processes that behaves as supervision in the field does (docs/supervision.md): hot restarts that drain the parent,
// children that abort without one, calls that fail, ends at any time, an operator, crashes of hawserd. All that can
// happen next is a list of moves; whoever explores chooses. Copies are independent of each other.
namespace hawser::proxy::model {

using Monotonic = Loop::Monotonic;
inline const std::vector<std::uint16_t> kPorts{15001};
inline Error failed() {
  return {Code::kUnavailable, "HWS-BR-001", "no answer", "start it"};
}
using std::chrono::milliseconds;

inline unsigned epoch_of(const std::string& name) {
  const auto id = generation_id(name);
  return id ? id->epoch : 0;
}

// How much misfortune may still happen.
struct Budget {
  unsigned faults = 0;      // calls that fail, processes that end or fall silent
  unsigned hand_overs = 0;  // that the operator asks for
  unsigned crashes = 0;     // of hawserd
  unsigned stops = 0;
};

struct Process {
  enum class Stage { kStarting, kAttached, kLive, kDrained };

  std::string name;
  pid_t pid = 0;
  Stage stage = Stage::kStarting;
  bool running = true;
  int status = -1;
  bool mute = false;        // its admin interface says nothing, though it may serve
  bool robbed = false;      // a child took the admin interface: mute for good
  bool marked = false;      // a child that wasn't LIVE has attached
  bool closed = false;      // drained from outside: its sockets are gone
  bool hung = false;        // it runs, and does nothing; only SIGKILL helps
  bool stubborn = false;    // no signal helps
  bool orphan = false;      // its parent ended before its time: it will abort
  bool dismissed = false;   // another has taken over side by side: whoever follows it drains and ends it
  bool known_good = false;  // our last look at it showed it LIVE, with its listeners

  bool has_sockets() const { return running && stage == Stage::kLive && !closed; }
  bool serves() const { return has_sockets() && !hung; }
};

struct Call {
  enum class Kind {
    kObserve,
    kValidate,
    kLaunch,
    kProbe,
    kProbeData,
    kInspect,
    kSnapshot,
    kRepair,
    kDrain,
    kCount,
    kSignal,
    kReap,
    kGiveUp
  };
  Kind kind = Kind::kObserve;
  bool of_hand_over = false;
  unsigned turn = 0;
  std::string target;
  int signal = 0;
  milliseconds wait{0};
};

struct Timer {
  Monotonic at{};
  unsigned turn = 0;
  hand_over::Action then;  // of the hand-over's
};

struct Move {
  enum class Kind {
    kAnswer,       // of call `index`, truthfully
    kFail,         // of call `index`: an error, and nothing was done
    kDoneButFail,  // the same, but it was done
    kRefuse,       // validation says no
    kExit,         // the notice that a watched process ended: ours (index 0), or the hand-over's
    kTick,         // the next timer
    kProgress,     // process `index` gets on by itself: attaches, becomes LIVE, aborts, leaves after its drain
    kRetire,       // a generation that was left to end is reaped
    kTell,         // the hand-over's outcome arrives
    kDie,
    kMute,
    kHang,
    kSpeak,
    kClose,
    kHarden,
    kRestart,  // index: of the kinds of a hand-over, or past them: chosen
    kStop,
    kStart,
    kCrash,         // hawserd ends and starts anew; what it had asked for wasn't done
    kCrashAndDone,  // the same, but it was
  };
  Kind kind = Kind::kTick;
  std::size_t index = 0;

  std::string text() const;
};

using Transitions = std::set<std::pair<std::string, std::string>>;

class World {
 public:
  explicit World(Budget budget);

  // All that can happen next.
  std::vector<Move> moves() const;
  void apply(const Move& move);
  // What happens next in a world where all goes well; none: nothing is left to happen.
  std::optional<Move> good_move() const;
  // From now on it does.
  void heal();
  // One proxy serves, alone, and is known to; or it's stopped and nothing runs.
  bool settled() const;
  // What must never be, in words; empty: all is well.
  const std::string& broken() const { return broken_; }
  std::string fingerprint(bool with_budget) const;
  std::string describe() const;
  // Since it was asked last.
  Transitions phases() { return std::exchange(phases_, {}); }
  Transitions steps() { return std::exchange(steps_, {}); }
  unsigned launches() const { return launches_; }

 private:
  void feed(SupervisionEvent event);
  void feed(const HandOverEvent& event);
  void perform(const SupervisionAction& action);
  void perform(const std::vector<hand_over::Action>& actions);
  void run(const hand_over::Action& action);
  void answer(const Call& call, Move::Kind how);
  void answer_own(const Call& call, Move::Kind how);
  void answer_hand_over(const Call& call, Move::Kind how);
  void probed(const Call& call, const Result<ProbeResult>& result);
  void environment(const Move& move);
  void operate(const Move& move);
  void tick();
  void crash(bool done);
  void begin_hand_over(std::size_t kind);
  void tell();
  void watched(pid_t pid);

  void ask(Call call);
  bool stale(const Call& call) const;  // nobody waits for its answer any more
  void forget_stale();
  Result<StartedGeneration> launch(const std::string& name, Move::Kind how);
  Status signal(const std::string& name, int number, Move::Kind how);
  Status repair(const std::string& name, Move::Kind how);
  Result<ReapedGeneration> reap(const Call& call, Move::Kind how);
  Result<std::vector<HostedGeneration>> observed(Move::Kind how) const;
  Result<ProbeResult> look(const std::string& name, Move::Kind how) const;
  Status data_path(Move::Kind how);
  std::vector<Listener> kernel() const;
  std::ptrdiff_t kernel_serves() const;

  void judge_signal(const std::string& name, int number);
  void judge_taken(const std::string& name, pid_t pid);
  void judge_numbers();
  bool someone_else_serves(const std::string& name) const;
  void violate(const std::string& what);

  bool has_ended(pid_t pid) const;
  bool has_progress(const Process& process) const;
  void progress(Process& process);
  void end(Process& process, int status);
  Process* find(const std::string& name);
  const Process* find(const std::string& name) const;
  Process* parent_of(const std::string& name);
  const Process* parent_of(const std::string& name) const;
  const Process* child_of(const std::string& name) const;
  std::size_t running() const;
  int index_of(pid_t pid) const;
  std::string open_calls() const;

  Monotonic now_{};
  Budget budget_;
  std::optional<Supervision> machine_;
  std::optional<HandOver> hand_over_;
  pid_t handing_over_pid_ = 0;  // the old one's
  bool told_ = true;            // the outcome of hand_over_
  std::vector<Process> processes_;
  std::vector<Call> calls_;
  std::optional<Timer> timer_;
  std::optional<Timer> hand_over_timer_;
  pid_t watch_ = 0;
  pid_t new_watch_ = 0;
  std::set<std::string> retiring_;
  std::set<std::string> held_;  // by whoever gives them their listeners
  bool wanted_ = true;
  pid_t last_pid_ = 100;
  unsigned launches_ = 0;
  std::string broken_;
  Transitions phases_;
  Transitions steps_;
};

}  // namespace hawser::proxy::model
