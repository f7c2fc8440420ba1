// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hawser::fleet {

// What: a fleet that loses its control plane at second 0, on a fake clock: the product's ReconnectPolicy in each host,
// and a plane that limits new streams as istiod does: so many a second, a second's worth may wait, the others are told
// ResourceExhausted. There is no network: a try takes `trip`. Threading: pure. Failure: none; the same seed gives the
// same figures.
struct Scenario {
  std::size_t hosts = 1'000;
  double accepts_a_second = 95;  // of all instances of the plane together
  std::chrono::milliseconds outage{0};
  std::chrono::milliseconds spread{8'000};
  std::chrono::milliseconds trip{50};  // connection, TLS and the first answer
  std::uint64_t seed = 1;
};

struct Figures {
  std::vector<double> gone;  // seconds without a stream, sorted; of the hosts that are back
  std::size_t missing = 0;   // not back after `patience`
  std::size_t refused = 0;   // tries that the living plane refused
  std::size_t tries = 0;     // all, those into the outage too
  std::size_t peak = 0;      // tries that reached the living plane in its busiest second

  double quantile(double share) const;
  std::size_t gone_longer_than(double seconds) const;
};

inline constexpr std::chrono::minutes kPatience{60};

Figures simulate(const Scenario& scenario);

}  // namespace hawser::fleet
