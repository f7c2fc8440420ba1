// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/asio_loop.h"
#include "base/result.h"

// What: runs a short program to its end without blocking the loop, and collects what it says.
// Threading: on the loop; `done` too, exactly once. Failure: HWS-BR-025 (can't be started), HWS-BR-026 (took too long,
// was killed). A program that fails is a result, not an error. One that runs as another user has a session of its own,
// and whatever it left there is killed when it ends or is late.
namespace hawser::proxy {

struct ChildSpec {
  std::string binary;
  std::vector<std::string> args;  // without argv[0]
  std::vector<std::string> env;
  uid_t uid = 0;  // 0: as we are; else all privileges are dropped
  gid_t gid = 0;
  bool collect_stderr = false;  // else it goes to ours
  std::chrono::milliseconds timeout{10'000};
  std::size_t keep = 16384;  // bytes of output, from its end
  std::uint64_t memory = 0;  // RLIMIT_DATA; 0: as ours
};

struct ChildResult {
  int exit_code = 0;  // the signal's number if one ended it
  std::string output;
};

using ChildDone = std::function<void(Result<ChildResult>)>;
void run_child(AsioLoop& loop, ChildSpec spec, ChildDone done);

}  // namespace hawser::proxy
