// SPDX-License-Identifier: Apache-2.0
#include "figures.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace hawser::fleet {
namespace {

constexpr double kGraceSeconds = 10;

}  // namespace

nlohmann::json gone_json(std::vector<double> gone) {
  std::sort(gone.begin(), gone.end());
  const auto quantile = [&gone](double share) {
    return gone.empty() ? 0 : gone[static_cast<std::size_t>(share * static_cast<double>(gone.size() - 1) + 0.5)];
  };
  return {{"hosts", gone.size()},
          {"p50", quantile(0.5)},
          {"p90", quantile(0.9)},
          {"p99", quantile(0.99)},
          {"max", quantile(1)},
          {"longer_than_10_s", gone.end() - std::upper_bound(gone.begin(), gone.end(), kGraceSeconds)}};
}

}  // namespace hawser::fleet
