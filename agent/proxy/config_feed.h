// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/result.h"

namespace hawser::proxy {

// What: who gives the proxies of this host their configuration, as far as a hand-over needs it: is what a new
// generation would ask for there, and its listeners held back until it has been looked at. A hold ends by itself at its
// limit, and with whoever holds. Threading: on the loop; each callback runs once, from the loop. Failure: the feed's
// own ids.
class ConfigFeed {
 public:
  struct Snapshot {
    std::string missing;   // what a new generation would wait for without an end, in words; empty: nothing
    std::string rejected;  // what the serving one hasn't taken the newest state of, in words; empty: nothing
    bool settled = true;   // the serving one has answered all that it was sent
  };

  virtual ~ConfigFeed() = default;
  virtual void snapshot(std::function<void(Result<Snapshot>)> done) = 0;
  // The generation needn't be there yet.
  virtual void hold_listeners(const std::string& generation, std::chrono::milliseconds limit,
                              std::function<void(Status)> done) = 0;
  // Also of one that isn't held.
  virtual void release_listeners(const std::string& generation) = 0;
};

}  // namespace hawser::proxy
