// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "dial/race.h"
#include "dial/selection.h"

namespace hawser {
class AsioLoop;
}

namespace hawser::dial {

// What: the way to a server for each attempt at it: looks names up again as needed, picks an address (selection.h),
// races the addresses of a group if there are several (race.h), and watches for a better group while a worse one is in
// use. Threading: the loop. Failure: HWS-DL-001 nothing can be reached, -002 a name can't be looked up, -003 the HTTP
// proxy's name can't, -004 the HTTP proxy can't be reached.
class Dialler {
 public:
  struct Options {
    std::string who;  // for messages: "the control plane"
    std::vector<Address> addresses;
    std::optional<Selection::Proxy> proxy;
    Selection::Policy policy;
    std::chrono::milliseconds look_up_timeout{5'000};
  };
  // How the world is reached; replaced by unit tests.
  struct Ways {
    using Found = std::function<void(Result<std::vector<std::string>>)>;
    std::function<void(const std::string& name, Found found)> look_up;
    std::function<void(const std::vector<Route>& routes, std::function<void(Race::Result)> done)> race;
    // Is the server there and the right one? None: a better group is never gone back to.
    std::function<void(const Route& route, std::function<void(bool well)> done)> probe;
  };

  Dialler(Loop& loop, Options options, Ways ways);
  ~Dialler();
  Dialler(const Dialler&) = delete;
  Dialler& operator=(const Dialler&) = delete;

  // A call while another is under way gets the same answer.
  void next(std::function<void(Result<Route>)> done);
  // How the attempt went, above TCP; no error: well.
  void tried(const Route& route, const std::optional<Error>& error);
  // How many are configured, a name being one.
  std::size_t addresses() const;
  // The best group is the choice again, whatever was before.
  void start_over();
  // A better group has been well for long enough: the next route leads there.
  void on_better(std::function<void(const std::string& reason)> call);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Names on the slow worker, connections on the loop; `probe` as given.
Dialler::Ways real_ways(AsioLoop& loop, SlowWorker& slow,
                        std::function<void(const Route& route, std::function<void(bool well)> done)> probe);

}  // namespace hawser::dial
