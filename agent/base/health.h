// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace hawser {

enum class HealthState { kOk, kStarting, kDegraded, kFailed };

// What: where modules report the state of what they answer for; shown as a row of `hawser status`, a log line on change
// and the metric hawser_health. Threading: on the loop. `error` is null unless degraded or failed.
class HealthSink {
 public:
  virtual ~HealthSink() = default;
  virtual void report(const std::string& item, HealthState state, const std::string& detail, const Error* error) = 0;
};

}  // namespace hawser
