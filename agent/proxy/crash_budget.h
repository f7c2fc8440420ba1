// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <set>
#include <string>

#include "base/loop.h"

namespace hawser::proxy {

// What: how many ends a binary may have before it's given up for the last good one. Only a young one can be: one that
// has served for its probation is as good as whatever came before it, and is started again for ever. Two limits: `ends`
// within `window`, whatever came before them; and `quick` ends, each soon after LIVE, so that what crashes as soon as
// it serves doesn't take the window's time. Threading: none of its own. Failure: none.
class CrashBudget {
 public:
  struct Options {
    unsigned ends = 5;
    std::chrono::seconds window{300};
    unsigned quick = 3;
    std::chrono::seconds quick_within{10};  // of LIVE
    std::chrono::seconds probation{1800};   // from its first LIVE on
  };
  using Monotonic = Loop::Monotonic;

  explicit CrashBudget(Options options) : options_(options) {}

  void live(const std::string& sha256, Monotonic now);
  // It ended, and nobody asked for it. True: the budget is spent; it begins anew.
  bool ended(const std::string& sha256, Monotonic now);
  // True once: LIVE, and its probation is over.
  bool proves(const std::string& sha256, Monotonic now);
  // It's known to be good, from elsewhere.
  void trust(const std::string& sha256);
  bool knows_good() const { return !good_.empty(); }
  // "5 ends in 42 s", of the budget that was spent last.
  const std::string& spent() const { return spent_; }

 private:
  friend struct Fingerprint;  // of the tests' exploration

  void begin(const std::string& sha256);

  Options options_;
  std::set<std::string> good_;
  std::string sha256_;
  std::optional<Monotonic> first_live_;
  std::optional<Monotonic> live_since_;
  unsigned quick_ = 0;
  std::deque<Monotonic> ends_;
  std::string spent_;
};

}  // namespace hawser::proxy
