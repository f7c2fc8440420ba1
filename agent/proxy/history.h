// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::proxy {

// What: what has happened to the proxy, newest last: a state that a generation came into, or a gate that it passed or
// didn't pass, with the reason. The last 100 are kept, on disk too if there is a path, over restarts and reboots.
// Threading: on the loop; files on the slow worker, one write at a time, the newest state of things in each.
// Durability: write_atomic; what happened within the last write's time may be lost with hawserd, and its ids are given
// again. Failure: a damaged file is put aside as <path>.damaged, HWS-PX-061 is logged, and the history begins anew; one
// that can't be written is logged (HWS-FS-001), and the history goes on in memory.
class History {
 public:
  static constexpr std::size_t kKept = 100;
  static constexpr std::size_t kMaxReason = 1000;  // bytes; the rest is cut off

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
    // Of a state, where known:
    pid_t pid = 0;
    std::string binary_sha256;
    std::string version;
    std::string boot;  // which boot it was
  };
  // The process behind a generation.
  struct Who {
    pid_t pid = 0;
    std::string binary_sha256;
    std::string version;
  };
  struct Storage {
    SlowWorker* slow = nullptr;
    std::string path;
    std::string boot;
  };

  explicit History(Loop& loop) : History(loop, Storage()) {}
  History(Loop& loop, Storage storage);
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // What an earlier hawserd kept. Blocking, of one small file; once, before the first entry.
  void restore();
  void state(const std::string& generation, const std::string& from, const std::string& to, const std::string& reason,
             const Who& who);
  void state(const std::string& generation, const std::string& from, const std::string& to, const std::string& reason) {
    state(generation, from, to, reason, {});
  }
  void gate(const std::string& generation, const std::string& name, bool passed, const std::string& reason,
            std::chrono::milliseconds took);
  // Those with a greater id.
  std::vector<Entry> after(std::uint64_t id) const;
  std::uint64_t last() const { return last_; }
  // The host leaves: the file goes.
  void forget();

 private:
  void add(Entry entry);
  void save();

  Loop& loop_;
  Storage storage_;
  std::uint64_t last_ = 0;
  std::deque<Entry> entries_;
  bool saving_ = false;
  bool save_again_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// What: the file. Pure. Failure: HWS-PX-061.
std::string history_text(std::uint64_t last, const std::deque<History::Entry>& entries);
Status parse_history(const std::string& text, std::uint64_t& last, std::deque<History::Entry>& entries);

}  // namespace hawser::proxy
