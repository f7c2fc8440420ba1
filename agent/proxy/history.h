// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "base/loop.h"

namespace hawser::proxy {

// What: what has happened to the proxy, newest last: a state that a generation came into, or a gate that it passed or
// didn't pass, with the reason. The last 100 are kept. Threading: on the loop. Failure: none.
class History {
 public:
  static constexpr std::size_t kKept = 100;

  struct Entry {
    enum class Kind { kState, kGate };
    std::uint64_t id = 0;  // grows by one
    Loop::Wall at;
    Kind kind = Kind::kState;
    std::string generation;
    std::string name;  // the state (LIVE, …), or the gate (validate, memory, ready, …)
    std::string from;  // the state before
    bool passed = true;
    std::string reason;                  // why, in words for the operator
    std::chrono::milliseconds took{-1};  // of a gate; negative: not measured
  };

  explicit History(Loop& loop) : loop_(loop) {}
  void state(const std::string& generation, const std::string& from, const std::string& to, const std::string& reason);
  void gate(const std::string& generation, const std::string& name, bool passed, const std::string& reason,
            std::chrono::milliseconds took);
  // Those with a greater id.
  std::vector<Entry> after(std::uint64_t id) const;

 private:
  void add(Entry entry);

  Loop& loop_;
  std::uint64_t last_ = 0;
  std::deque<Entry> entries_;
};

}  // namespace hawser::proxy
