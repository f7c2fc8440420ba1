// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::xds {

// What is withheld from one generation of the proxy while it's being checked.
struct Hold {
  enum class What {
    kUpdates,    // everything that it hasn't been sent yet
    kListeners,  // listeners, above all the first ones: until then it opens no port and isn't LIVE
  };
  std::string generation;
  What what = What::kUpdates;
  std::string reason;
  Loop::Monotonic until;  // it's released by itself then
};
std::string_view to_text(Hold::What what);

// What: which generations are held back, from what, and how long. There's no hold without a time limit and a reason.
// Threading: the relay's strand. Failure: HWS-XDS-032 for one that isn't such.
class HoldBook {
 public:
  static constexpr std::size_t kMaxHolds = 16;
  static constexpr std::size_t kMaxReason = 200;
  static constexpr std::chrono::hours kMaxTime{1};

  // Replaces the generation's earlier hold of the same kind.
  Status add(Hold hold, Loop::Monotonic now);
  // All of a generation's. How many there were.
  std::size_t remove(const std::string& generation);
  bool empty() const { return holds_.empty(); }
  bool withholds(const std::string& generation, std::string_view type_url) const;
  bool withholds_all(const std::string& generation) const;

  std::optional<Loop::Monotonic> deadline() const;
  // Those whose time has passed; they're over then.
  std::vector<Hold> take_expired(Loop::Monotonic now);
  std::vector<Hold> all() const;

 private:
  std::map<std::pair<std::string, Hold::What>, Hold> holds_;
};

}  // namespace hawser::xds
