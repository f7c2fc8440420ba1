// SPDX-License-Identifier: Apache-2.0
#include "simulation.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "base/fake_loop.h"
#include "xds/reconnect_policy.h"

namespace hawser::fleet {
namespace {

using std::chrono::duration;
using std::chrono::duration_cast;
using std::chrono::seconds;

double in_seconds(Loop::Duration time) {
  return duration<double>(time).count();
}

// golang.org/x/time/rate with a burst of one, waited for no longer than a second, as istiod uses it.
class Limiter {
 public:
  explicit Limiter(double a_second) : step_(duration_cast<Loop::Duration>(duration<double>(1 / a_second))) {}

  // How long the caller waits for its turn; nothing: it is refused.
  std::optional<Loop::Duration> take(Loop::Monotonic now) {
    const auto turn = std::max(next_, now);
    if (turn - now > seconds(1)) return std::nullopt;
    next_ = turn + step_;
    return turn - now;
  }

 private:
  Loop::Duration step_;
  Loop::Monotonic next_{};
};

class Fleet {
 public:
  explicit Fleet(const Scenario& scenario) : scenario_(scenario), limiter_(scenario.accepts_a_second) {
    xds::ReconnectPolicy::Options options;
    options.spread = scenario.spread;
    for (std::size_t i = 0; i < scenario.hosts; ++i) hosts_.emplace_back(options, scenario.seed * 1'000'003 + i);
  }

  Figures run() {
    const xds::ReconnectPolicy::End lost{Code::kUnavailable, std::chrono::minutes(10), std::nullopt};
    for (auto& host : hosts_) wait(host, lost);
    loop_.advance(kPatience);
    figures_.missing = hosts_.size() - figures_.gone.size();
    std::sort(figures_.gone.begin(), figures_.gone.end());
    for (const auto& [second, tries] : by_second_) figures_.peak = std::max(figures_.peak, tries);
    return std::move(figures_);
  }

 private:
  struct Host {
    Host(xds::ReconnectPolicy::Options options, std::uint64_t seed) : policy(options, seed) {}
    xds::ReconnectPolicy policy;
    std::unique_ptr<Loop::Timer> timer;
  };

  void wait(Host& host, const xds::ReconnectPolicy::End& end) {
    host.timer = loop_.after(host.policy.ended(end, loop_.now()), [this, &host] { attempt(host); });
  }

  void attempt(Host& host) {
    const auto now = loop_.now();
    host.policy.attempted(now);
    ++figures_.tries;
    // A port that nobody listens on answers at once.
    if (now - Loop::Monotonic() < scenario_.outage) return wait(host, {Code::kUnavailable, std::nullopt, std::nullopt});
    ++by_second_[duration_cast<seconds>(now.time_since_epoch()).count()];
    const auto turn = limiter_.take(now);
    if (turn) return figures_.gone.push_back(in_seconds(now - Loop::Monotonic() + *turn + scenario_.trip));
    ++figures_.refused;
    host.timer = loop_.after(scenario_.trip, [this, &host] {
      wait(host, {Code::kResourceExhausted, std::nullopt, std::nullopt});
    });
  }

  Scenario scenario_;
  Limiter limiter_;
  FakeLoop loop_;
  std::vector<Host> hosts_;
  std::map<std::int64_t, std::size_t> by_second_;
  Figures figures_;
};

}  // namespace

double Figures::quantile(double share) const {
  if (gone.empty()) return 0;
  const auto last = static_cast<double>(gone.size() - 1);
  return gone[static_cast<std::size_t>(share * last + 0.5)];
}

std::size_t Figures::gone_longer_than(double seconds) const {
  return static_cast<std::size_t>(gone.end() - std::upper_bound(gone.begin(), gone.end(), seconds));
}

Figures simulate(const Scenario& scenario) {
  return Fleet(scenario).run();
}

}  // namespace hawser::fleet
