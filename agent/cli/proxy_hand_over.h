// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "cli/command.h"

namespace CLI {
class App;
}

namespace hawser::cli {

struct HandOverOptions {
  std::string hand_over;  // empty: as configured
  bool plan = false;
  std::string timeout = "3m";
  bool as_json = false;
};
void add_hand_over_flags(CLI::App& command, HandOverOptions& options);

struct HandOverOutcome {
  Result<std::string> answer;  // hawserd's JSON
  // hawserd wasn't done in time, and goes on: nobody knows yet how it ends.
  bool open = false;
  // There's nothing to hand over: no proxy runs, as on a host that isn't joined, or no hawserd that could be asked.
  bool nothing_runs() const;
};

// Has hawserd replace its proxy by one of this binary (empty: the current one), and waits for the outcome. Each gate is
// printed as it passes or doesn't, unless as_json.
HandOverOutcome hand_over(const Context& context, const HandOverOptions& options, std::chrono::milliseconds timeout,
                          const std::string& binary_sha256);
// Prints the answer, a plan or what was done. Failure: HWS-RPC-001.
Status print_hand_over(const HandOverOptions& options, const std::string& answer);

}  // namespace hawser::cli
