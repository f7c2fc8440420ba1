// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>

#include "base/result.h"

namespace hawser {

class Membership;

// What an operator asks of the relay.
struct DebugJob {
  std::string type;
  std::string resource;
  std::uint32_t timeout_ms = 0;
};
struct HoldJob {
  std::string generation;
  bool listeners = false;
  std::uint32_t seconds = 0;
  std::string reason;
};
struct ReleaseJob {
  std::string generation;
};
struct BootstrapJob {};
using RelayJob = std::variant<DebugJob, HoldJob, ReleaseJob, BootstrapJob>;

// What: does such a job; the answer is a JSON document. Threading: on the loop. Failure: HWS-MB-004 while leaving, and
// the job's own (xds/relay.h).
void run_relay_job(const Membership& membership, const RelayJob& job, std::function<void(Result<std::string>)> done);

}  // namespace hawser
