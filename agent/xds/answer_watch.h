// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/loop.h"
#include "xds/options.h"

namespace hawser::xds {

// What: the watchdog over a stream's answers. A plane whose connection answers pings can still be dead above it; but
// one that has nothing newer than what we have may be silent for ever, and not all planes answer for a name that they
// don't know. So what must be answered is insisted on, what should be is insisted on once, and silence after nothing
// but current versions is consent; unless the plane has never been silent then. Threading: the strand. Failure:
// on_overdue.
class AnswerWatch {
 public:
  struct Events {
    std::function<void(const std::string& what)> on_overdue;
    std::function<bool()> alive;  // the connection itself
    std::function<void()> on_consent;
  };

  AnswerWatch(Loop& strand, std::chrono::milliseconds timeout, std::chrono::milliseconds consent, Events events)
      : strand_(strand), timeout_(timeout), consent_(consent), events_(std::move(events)) {}

  // A stream is being opened: something must become of it.
  void opened();
  void sent(const Expectation& expectation);
  void written();
  void answered();
  void closed();

 private:
  void overdue();
  void consent();

  Loop& strand_;
  std::chrono::milliseconds timeout_;
  std::chrono::milliseconds consent_;
  Events events_;
  bool answered_ = false;
  bool may_be_silent_ = false;
  bool must_answer_ = false;
  std::string awaited_;
  std::set<std::string> never_answered_;
  // How many streams in a row were answered although they might have been left in silence, and how often that was
  // then insisted on.
  int answered_freely_ = 0;
  int insisted_ = 0;
  std::unique_ptr<Loop::Timer> timer_;
  std::unique_ptr<Loop::Timer> consent_timer_;
};

}  // namespace hawser::xds
