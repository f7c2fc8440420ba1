// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>

#include "base/result.h"
#include "proxy/history.h"
#include "proxy_view.h"

namespace hawser {

class Membership;

// What an operator asks of the proxy's supervisor.
struct RestartJob {
  std::string hand_over;  // empty: as configured; "call-off": the one under way is given up
  bool plan = false;
  std::string binary_sha256;  // empty: the store's current one
};
struct HistoryJob {
  std::uint64_t after = 0;  // only what is newer than this entry
};
struct DrainJob {
  bool listeners = false;
  std::uint32_t time_ms = 0;  // 0: as configured
  bool until_reboot = false;
};
struct UndrainJob {};
struct ProxyStatusJob {};
using ProxyJob = std::variant<RestartJob, HistoryJob, ProxyStatusJob, ProxyQuestion, DrainJob, UndrainJob>;

// What: does such a job; the answer is a JSON document. Threading: on the loop. Failure: HWS-MB-002 (no proxy runs),
// HWS-PX-033 (no such hand-over), and the job's own (proxy/supervisor.h).
void run_proxy_job(const Membership& membership, const ProxyJob& job, std::function<void(Result<std::string>)> done);

// An entry of the history, as `hawser proxy history --json` and `hawser events --json` have it.
nlohmann::json entry_json(const proxy::History::Entry& entry);

}  // namespace hawser
