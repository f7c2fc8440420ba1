// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "proxy/driver.h"
#include "proxy/generation_host.h"
#include "proxy/hand_over.h"
#include "proxy/process_watch.h"

namespace hawser::proxy {

// What: replaces one generation by another, once: does what hand_over.h decides, through host, driver and watcher.
// Destroying it leaves both generations as they are, and nothing held back; whoever comes next adopts them.
// Threading: on the loop; `done` runs once, from the loop, and may destroy the replacement.
// Failure: in the outcome; the ids are those of hand_over.h.
class Replacement {
 public:
  using Done = std::function<void(const HandOverOutcome& outcome)>;
  using OnGate = std::function<void(const Gate& gate)>;
  using Bootstrap = std::function<std::string(const std::string& generation)>;

  Replacement(Loop& loop, GenerationHost& host, ProxyDriver& driver, ProcessWatcher& watcher, HandOverOptions options,
              Bootstrap bootstrap, Done done);
  ~Replacement();
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  // Before start(), and for as long as the replacement lives; none: as HandOverOptions::feed has it.
  void use(ConfigFeed* feed) { feed_ = feed; }
  // Runs for each gate when it's met; to be set before start().
  void on_gate(OnGate callback) { on_gate_ = std::move(callback); }
  // What is read of the old one, while that can be done: before it hands its counters down to a successor, or before
  // it's ended. The next step waits until it is called back.
  enum class Reading { kBeforeHandOver, kLast };
  using ReadOld = std::function<void(Reading reading, std::function<void()> go)>;
  void read_old(ReadOld work) { read_old_ = std::move(work); }

  void start();
  void old_ended();  // told by who watches it
  void call_off(std::string why);
  bool may_be_called_off() const { return machine_.may_be_called_off(); }
  const std::vector<Gate>& gates() const { return machine_.gates(); }
  std::string new_name() const { return machine_.new_name(); }
  HandOver::Monotonic started_at() const { return started_at_; }

 private:
  void feed(HandOverEvent event);
  void perform(const std::vector<hand_over::Action>& actions);
  void run(const hand_over::Action& action);
  void tell_gates();
  void after_reading(Reading reading, std::function<void()> go);
  void launch(const std::string& name);
  void tell();
  void make_bootstrap();
  template <typename Event, typename Value>
  std::function<void(Value)> answer();

  Loop& loop_;
  GenerationHost& host_;
  ProxyDriver& driver_;
  ProcessWatcher& watcher_;
  HandOver machine_;
  ConfigFeed* feed_ = nullptr;
  Bootstrap make_bootstrap_;
  ReadOld read_old_;
  Done done_;
  OnGate on_gate_;
  std::size_t gates_told_ = 0;
  HandOver::Monotonic started_at_;
  std::string bootstrap_;
  std::deque<HandOverEvent> events_;
  bool feeding_ = false;
  std::unique_ptr<Loop::Timer> timer_;
  std::unique_ptr<ProcessWatcher::Watch> watch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// What: sees a generation off that another has taken over from, and has it reaped. By hot restart it's only waited for:
// while its successor lives, its end by force would be its successor's too. One that runs by itself, side by side with
// its successor, is drained first, ended by SIGTERM once it's idle or its time is up, and by SIGKILL if it doesn't end.
// Threading, failure: as Replacement; a host that doesn't answer is asked again.
class Retirement {
 public:
  // No status: somebody else has reaped it.
  using Done = std::function<void(std::optional<int> exit_status)>;
  struct Farewell {
    ProxyDriver& driver;
    std::chrono::milliseconds drain{5000};  // as the proxy was told: until then it accepts
    std::chrono::milliseconds most{60000};  // what open connections get in all
    std::chrono::milliseconds end_wait{5000};
    // Runs before it's ended, which waits until it is called back.
    std::function<void(std::function<void()> go)> before_end = {};
  };

  Retirement(Loop& loop, GenerationHost& host, std::string generation, Done done);
  // To be drained.
  Retirement(Loop& loop, GenerationHost& host, std::string generation, Farewell farewell, Done done);
  void start();

 private:
  void ask();
  void drain();
  void say_farewell();
  void end(int signal);
  void send_signal(int signal);
  // Waits for its end, then goes on with `next` if it hasn't come.
  void reap(std::chrono::milliseconds wait, std::function<void()> next);
  void finish(std::optional<int> status);

  Loop& loop_;
  GenerationHost& host_;
  std::string generation_;
  std::optional<Farewell> farewell_;
  Done done_;
  Loop::Monotonic began_{};
  unsigned failures_ = 0;
  unsigned idle_ = 0;
  std::unique_ptr<Loop::Timer> timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser::proxy
