// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/metrics.h"
#include "proxy/counters.h"
#include "proxy/driver.h"

namespace hawser::proxy {

// What: reads the statistics of the generations that run and keeps them as Counters has it: at a scrape, every 15
// seconds without one, and before a generation loses its admin interface or ends. A proxy that crashes takes along what
// it counted since the last reading, which nobody has seen either.
//
// At a hot restart the successor is given what its predecessor hasn't flushed: Envoy flushes once a second (our
// bootstrap), so before the hand-over the end of a flush is waited for, and the last reading is taken then. What is
// counted between the two, some ten milliseconds, is counted twice; without it, as under a bootstrap that is older, up
// to a flush interval.
// Durability: `path` is written durably at each last reading, when a generation has ended, and else once a minute; at
// most 16 MiB. It's of use until the next boot. Damaged: put aside as <path>.damaged, and HWS-PX-060 is logged.
// Threading: on the loop, files on the slow worker; `done` runs once, on the loop, not once the keeper is destroyed.
// Failure: a scrape fails as the serving generation's if nothing is known, or nothing newer than what an earlier
// hawserd wrote down, who may have told more since. Metrics: hawser_proxy_counter_series,
// hawser_proxy_counter_failures_total{type} (reading, write, limit).
class CounterKeeper {
 public:
  struct Options {
    std::string path;  // empty: nothing is kept on disk
    std::string boot;
    std::chrono::milliseconds read_every{15000};
    std::chrono::milliseconds save_every{60000};
    std::chrono::milliseconds flush_wait{1500};
    std::chrono::milliseconds flush_poll{25};
    std::chrono::milliseconds last_wait{1000};  // for a last reading and its write
  };
  using Generations = std::function<std::vector<Counters::Generation>()>;
  using Done = std::function<void(Result<std::string>)>;

  CounterKeeper(Loop& loop, SlowWorker& slow, ProxyDriver& driver, Metrics& metrics, Options options);
  ~CounterKeeper();
  CounterKeeper(const CounterKeeper&) = delete;
  CounterKeeper& operator=(const CounterKeeper&) = delete;

  // Reads what an earlier hawserd kept. Blocking; once, at the start.
  void restore();
  // Who runs, the serving one first; it's asked at each reading. Empty: not known now.
  void follow(Generations generations);
  // The merged exposition.
  void scrape(Done done);
  // `done` runs in any case, in bounded time.
  void read_last(std::function<void()> done);
  void read_before_hand_over(const std::string& generation, std::function<void()> done);
  // The host leaves: nothing is kept.
  void forget();

 private:
  struct Round;
  enum class Join { kAtHand, kAnew };

  void begin(Join join, std::function<void()> done);
  void answered(Round& round, const std::string& generation, const Result<std::string>& text);
  void finish();
  void arm();
  void await_flush(const std::string& generation, std::uint64_t mark, Loop::Monotonic until,
                   std::function<void()> done);
  void save(std::function<void()> done);
  void written(const Status& result);
  void fail(const char* type, const Error& error);
  std::function<void()> once(Loop::Duration limit, std::function<void()> done);

  Loop& loop_;
  SlowWorker& slow_;
  ProxyDriver& driver_;
  Metrics& metrics_;
  Options options_;
  Counters counters_;
  Generations generations_;
  std::shared_ptr<Round> round_;                // under way
  std::vector<std::function<void()>> on_next_;  // those that wait for the one after
  std::optional<Error> failure_;                // the serving one's, in the last round
  bool stale_ = false;                          // restored, and no reading since
  unsigned ended_ = 0;
  std::uint64_t refused_ = 0;
  Loop::Monotonic read_at_{};
  Loop::Monotonic saved_at_{};
  bool saving_ = false;
  bool save_again_ = false;
  std::vector<std::function<void()>> on_saved_;        // by the write under way
  std::vector<std::function<void()>> on_saved_again_;  // by the one after
  std::unique_ptr<Loop::Timer> timer_;
  std::unique_ptr<Loop::Timer> flush_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hawser::proxy
