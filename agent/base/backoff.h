// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace hawser {

// What: exponential back-off with full jitter: each delay is uniform in [0, min(cap, base * 2^n)], so that hosts that
// failed together don't come back together. Threading: none of its own.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds base, std::chrono::milliseconds cap, std::uint64_t seed)
      : base_(base), cap_(cap), random_(seed) {}

  std::chrono::milliseconds next() { return next(cap_); }
  // With another cap, this time.
  std::chrono::milliseconds next(std::chrono::milliseconds cap);
  void reset() { attempt_ = 0; }
  std::uint32_t attempts() const { return attempt_; }

 private:
  std::chrono::milliseconds base_;
  std::chrono::milliseconds cap_;
  std::mt19937_64 random_;
  std::uint32_t attempt_ = 0;
};

// A seed from the kernel's random source.
std::uint64_t random_seed();

}  // namespace hawser
