// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
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
  // Whoever holds releases; nobody releases what another holds.
  enum class By { kOperator, kHandOver };
  std::string generation;
  What what = What::kUpdates;
  std::string reason;
  Loop::Monotonic until;  // it's released by itself then
  By by = By::kOperator;
};
std::string_view to_text(Hold::What what);

// What: which generations are held back, from what, and how long. There's no hold without a time limit and a reason.
// Threading: the relay's strand. Failure: HWS-XDS-032 for one that isn't such.
class HoldBook {
 public:
  static constexpr std::size_t kMaxHolds = 16;
  static constexpr std::size_t kMaxReason = 200;
  static constexpr std::chrono::hours kMaxTime{1};

  // Replaces an earlier hold of the generation, of the same kind and by the same.
  Status add(Hold hold, Loop::Monotonic now);
  // All that were set for a generation by one of those who hold. How many there were.
  std::size_t remove(const std::string& generation, Hold::By by);
  bool empty() const { return holds_.empty(); }
  bool withholds(const std::string& generation, std::string_view type_url) const;
  bool withholds_all(const std::string& generation) const { return any(generation, Hold::What::kUpdates); }

  std::optional<Loop::Monotonic> deadline() const;
  // Those whose time has passed; they're over then.
  std::vector<Hold> take_expired(Loop::Monotonic now);
  std::vector<Hold> all() const;

 private:
  bool any(const std::string& generation, Hold::What what) const;

  std::map<std::tuple<std::string, Hold::What, Hold::By>, Hold> holds_;
};

}  // namespace hawser::xds
