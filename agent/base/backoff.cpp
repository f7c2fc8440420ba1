// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/backoff.h"

#include <sys/random.h>

#include <algorithm>

namespace hawser {

std::chrono::milliseconds Backoff::next(std::chrono::milliseconds cap) {
  // 2^20 times any sensible base is past any sensible cap; the limit keeps the shift defined.
  const auto factor = std::int64_t{1} << std::min<std::uint32_t>(attempt_, 20);
  ++attempt_;
  const auto ceiling = std::min<std::int64_t>(cap.count(), base_.count() * factor);
  return std::chrono::milliseconds(
      std::uniform_int_distribution<std::int64_t>(0, std::max<std::int64_t>(ceiling, 0))(random_));
}

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed)) seed = std::random_device{}();
  return seed;
}

}  // namespace hawser
