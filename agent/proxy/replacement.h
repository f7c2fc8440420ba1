// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/loop.h"
#include "proxy/driver.h"
#include "proxy/generation_host.h"
#include "proxy/hand_over.h"
#include "proxy/process_watch.h"

namespace hawser::proxy {

// What: replaces one generation by the next, once: does what hand_over.h decides, through host, driver and watcher.
// Destroying it leaves both generations as they are; whoever comes next adopts them.
// Threading: on the loop; `done` runs once, from the loop, and may destroy the replacement.
// Failure: in the outcome; the ids are those of hand_over.h.
class Replacement {
 public:
  using Done = std::function<void(const HandOverOutcome& outcome)>;
  using Bootstrap = std::function<std::string(const std::string& generation)>;

  Replacement(Loop& loop, GenerationHost& host, ProxyDriver& driver, ProcessWatcher& watcher, HandOverOptions options,
              Bootstrap bootstrap, Done done);
  ~Replacement();
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  // Runs before the new one is started, which waits until it is called back.
  using BeforeLaunch = std::function<void(std::function<void()> go)>;
  void before_launch(BeforeLaunch work) { before_launch_ = std::move(work); }

  void start();
  void old_ended();  // told by who watches it
  void call_off();
  std::string new_name() const { return machine_.new_name(); }
  HandOver::Monotonic started_at() const { return started_at_; }

 private:
  void feed(HandOverEvent event);
  void perform(const std::vector<hand_over::Action>& actions);
  void run(const hand_over::Action& action);
  void launch(const std::string& name);
  void tell();
  template <typename Event, typename Value>
  std::function<void(Value)> answer();

  Loop& loop_;
  GenerationHost& host_;
  ProxyDriver& driver_;
  ProcessWatcher& watcher_;
  HandOver machine_;
  Bootstrap make_bootstrap_;
  BeforeLaunch before_launch_;
  Done done_;
  HandOver::Monotonic started_at_;
  std::string bootstrap_;
  std::deque<HandOverEvent> events_;
  bool feeding_ = false;
  std::unique_ptr<Loop::Timer> timer_;
  std::unique_ptr<ProcessWatcher::Watch> watch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// What: waits for the end of a generation that hands over or has ended already, and has it reaped. Never signals it:
// while its successor lives, its end by force would be its successor's too. Threading, failure: as Replacement; a host
// that doesn't answer is asked again.
class Retirement {
 public:
  // No status: somebody else has reaped it.
  using Done = std::function<void(std::optional<int> exit_status)>;

  Retirement(Loop& loop, GenerationHost& host, std::string generation, Done done);
  void start();

 private:
  void ask();

  Loop& loop_;
  GenerationHost& host_;
  std::string generation_;
  Done done_;
  std::unique_ptr<Loop::Timer> timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser::proxy
