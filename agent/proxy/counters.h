// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"

namespace hawser::proxy {

// What: the statistics of all generations of the proxy as those of one that never ends. Counters, and the buckets, sums
// and counts of histograms, are added up: of those that run, and of those that have ended, by what they said last.
// None ever goes back, not even one that a generation begins anew, nor one whose cluster has gone. Gauges are of those
// that run and answered in this round: added up, but for those that describe one process (its version, its state),
// which are the first one's. Input is Prometheus' text format 0.0.4 as Envoy writes it; a line that doesn't fit, a
// sample without a TYPE, and kinds that can't be added (summaries) are left out.
// Threading: none of its own. Failure: restore() alone, HWS-PX-060. Bounds: 100,000 series, of which those that count
// nothing are dropped first, then new ones refused; 4 generations at a time.
class Counters {
 public:
  static constexpr std::size_t kMaxSeries = 100'000;
  static constexpr std::size_t kMaxRunning = 4;

  struct Generation {
    std::string name;
    pid_t pid = 0;  // 0: not known, and whatever it was before
  };

  Counters() = default;
  Counters(Counters&&) = default;
  Counters& operator=(Counters&&) = default;
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;

  // Those that run, the one that serves first. All others have ended. Begins a round: nobody has answered in it.
  void begin_round(const std::vector<Generation>& now);
  // What one of them says; false if it isn't known.
  bool take(const std::string& name, std::string_view exposition);
  // The merged exposition.
  std::string text();

  // What has to outlive us: `boot` says for how long it's of use.
  std::string save(const std::string& boot) const;
  // Replaces all. Of another boot: empty, and no error.
  Status restore(std::string_view saved, const std::string& boot);

  std::size_t series() const { return series_.size(); }
  std::uint64_t refused() const { return refused_; }  // series over the bound
  bool empty() const { return series_.empty(); }
  // Grows with each generation that is known to have ended.
  unsigned ended() const { return ended_; }

 private:
  enum class Kind { kCounter, kHistogram, kGauge, kState };
  struct Family {
    std::string name;
    Kind kind = Kind::kCounter;
    std::vector<std::uint32_t> series;
  };
  struct Series {
    std::string key;  // name and labels, as they came
    std::uint32_t family = 0;
    double ended = 0;  // of those that have ended
    double shown = 0;
    std::array<double, kMaxRunning> value{};
    std::array<std::uint32_t, kMaxRunning> seen{};  // in which reading; 0: in none
  };
  struct Slot {
    Generation generation;
    bool used = false;
    bool fresh = false;
    std::uint32_t reading = 0;
  };
  using Reading = std::pair<std::uint32_t, double>;  // a series, its value

  static Kind kind_of(std::string_view type, std::string_view name, bool& known);
  static bool adds_up(Kind kind) { return kind == Kind::kCounter || kind == Kind::kHistogram; }
  Slot* find(const std::string& name);
  std::size_t slot_index(const Slot& slot) const { return static_cast<std::size_t>(&slot - slots_.data()); }
  void fold(Slot& slot);
  void read(Slot& slot, std::string_view text);
  std::uint32_t declare(std::string_view line, std::uint32_t current);
  std::uint32_t series_of(std::uint32_t family, std::string_view key);
  void commit(const Slot& slot, std::vector<Reading>& group);
  double total(const Series& series) const;
  bool gauge(const Series& series, Kind kind, double& out) const;
  void make_room();

  std::vector<Family> families_;
  std::unordered_map<std::string, std::uint32_t> family_index_;
  std::deque<Series> series_;  // never moved: the index points into it
  std::unordered_map<std::string_view, std::uint32_t> index_;
  std::array<Slot, kMaxRunning> slots_;
  std::vector<std::size_t> order_;  // of the slots in use, the serving one's first
  std::uint64_t refused_ = 0;
  unsigned ended_ = 0;
};

}  // namespace hawser::proxy
