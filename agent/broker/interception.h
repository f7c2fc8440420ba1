// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "netfilter/backend.h"
#include "netfilter/plan.h"
#include "netfilter/probe.h"

namespace hawser::broker {

// What: the state of interception: none → applied (unconfirmed) → confirmed → draining → none. Rules that don't pass
// their probe, or that nobody confirms in time, are withdrawn from here: a hawserd that hangs or dies half-way leaves a
// host without interception, not without network. When rules go, the anchor stays until the connections that live on
// redirection have ended, at most `drain`.
// Threading: on the loop. Failure: netfilter's; HWS-BR-010 (probe), HWS-BR-013 (nothing to confirm), HWS-BR-014
// (overtaken). Durability: a confirmed plan is stored, so that `remove` needs no configuration, and forgotten by
// remove.
class Interception {
 public:
  struct Options {
    std::string plan_path = "/var/lib/hawser/netfilter/plan.pb";
    // Added to every intent: the proxy's and the agent's, whatever the intent says.
    std::vector<std::uint32_t> exempt_uids;
    std::vector<std::uint32_t> exempt_gids;
    std::chrono::milliseconds drain{5000};
    std::chrono::milliseconds drain_poll{50};
    std::chrono::seconds max_confirm{3600};
  };
  // What isn't rules: the host around them, as netfilter/guard.h and probe.h see it.
  struct Kernel {
    std::function<netfilter::Guard()> guard;
    std::function<std::vector<netfilter::ProbeResult>(netfilter::Backend&, const netfilter::Plan&)> probe;
    std::function<Result<std::size_t>(std::uint16_t, std::uint16_t)> redirected;
  };
  struct Applied {
    std::string digest;
    std::vector<netfilter::ProbeResult> probes;
    double apply_ms = 0;
  };
  struct State {
    bool active = false;
    bool confirmed = false;
    netfilter::Observation kernel;
  };
  using Done = std::function<void(const Status&)>;

  Interception(Loop& loop, netfilter::Backend& backend, Kernel kernel, Options options);

  // Reads the stored plan; applies nothing, since no proxy may be there.
  Status load();
  // Replaces whatever is in force. `confirm` zero: without a timer. `kWithout`: nobody can answer a probe.
  enum class Proxy { kThere, kWithout };
  Result<Applied> plan(netfilter::Intent intent, std::chrono::seconds confirm, Proxy proxy = Proxy::kThere);
  Status confirm(const std::string& digest);
  void remove(Done done);
  Result<State> observe();
  // The broker ends, and its rules with it. Connections that live on redirection keep the anchor.
  void stop();
  const char* backend_name() const { return backend_.name(); }

 private:
  Status withdraw(const std::string& why);
  void start_drain();
  void drain();
  void end_drain(const Status& status);
  std::size_t redirected();

  Loop& loop_;
  netfilter::Backend& backend_;
  Kernel kernel_;
  Options options_;
  netfilter::Intent intent_;  // in force, or stored
  std::string digest_;        // in force; empty: nothing is
  bool confirmed_ = false;
  std::unique_ptr<Loop::Timer> confirm_timer_;
  std::unique_ptr<Loop::Timer> drain_timer_;
  Loop::Monotonic drain_end_{};
  std::vector<Done> removing_;
};

}  // namespace hawser::broker
