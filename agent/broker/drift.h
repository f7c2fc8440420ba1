// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "netfilter/backend.h"
#include "netfilter/drift_events.h"

namespace hawser::broker {

// What: notices when others change the rules in force, and has them healed: `settle` after an event of the kernel, and
// at the latest with the next look, one every `poll`. Somebody who changes them again and again is given way: after
// `burst` repairs without `calm` between them the next one waits, twice as long each time, and it's said who it is.
// Threading: on the loop; Actions are called there. Failure: what can't be healed is tried again, with the same
// patience; HWS-BR-034 in the log.
class Drift {
 public:
  struct Options {
    std::chrono::milliseconds settle{50};
    std::chrono::milliseconds poll{10'000};
    std::size_t burst = 5;
    std::chrono::milliseconds calm{60'000};
    std::chrono::milliseconds first_wait{1'000};
    std::chrono::milliseconds longest_wait{60'000};
  };
  struct Actions {
    std::function<Result<std::string>()> look;  // the shape that the kernel shows
    std::function<Status()> heal;               // brings the plan in again; calls expect()
  };
  struct View {
    std::uint64_t found = 0;
    std::uint64_t healed = 0;
    std::uint64_t failed = 0;
    bool backing_off = false;
    std::string what;
    std::string program;
    Loop::Wall found_at{};
  };

  Drift(Loop& loop, Options options, Actions actions);

  // Rules are in force, and look like this.
  void expect(std::string shape);
  bool expects(const std::string& shape) const { return expected_ == shape; }
  // None are.
  void rest();
  // `own`: the port of the socket that we change rules with.
  void heard(const std::vector<netfilter::Change>& changes, std::uint32_t own);
  View view() const { return view_; }

 private:
  void look();
  void look_within(Loop::Duration time);
  void note(const std::string& shape);
  void forget_old_repairs();
  void heal();
  void give_way();

  Loop& loop_;
  Options options_;
  Actions actions_;
  std::optional<std::string> expected_;
  std::string seen_;         // the last that wasn't expected
  std::string program_;      // whose transaction was the last on our tables
  std::size_t repairs_ = 0;  // without calm between them
  Loop::Monotonic last_repair_{};
  Loop::Duration wait_{};
  Loop::Monotonic not_before_{};
  Loop::Monotonic next_look_{};
  View view_;
  std::unique_ptr<Loop::Timer> timer_;
};

// What only changes when somebody changes something.
std::string shape_of(const netfilter::Observation& seen);
// The first lines that went and came, for the log.
std::string difference(const std::string& before, const std::string& now);

}  // namespace hawser::broker
