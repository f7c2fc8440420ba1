// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace hawser {

// What: a program that an operator named, to be asked one thing: `input` goes to its standard input, its standard
// output is the answer. `env` is all of its environment beside PATH, HOME, LANG and TZ of ours.
struct Command {
  std::vector<std::string> argv;  // a name without a slash is looked for in PATH
  std::map<std::string, std::string> env{};
  std::string input{};  // up to 64 KiB
  std::chrono::milliseconds timeout{10'000};
  std::size_t max_output = 1U << 20U;  // bytes
};

// What: runs commands to their end. A program that isn't done in time, says too much or is cancelled is killed together
// with all of its process group, and reaped; so is what it leaves behind when it ends. Whoever keeps its output open
// longer isn't waited for.
// Threading: run() blocks, one at a time; cancel() from any thread.
// Failure: HWS-EX-001 can't be run, -002 not done in time, -003 too much output, -004 it failed, -005 cancelled. A
// failure quotes the last line of its standard error, up to 200 printable characters, without words so long that they
// may be a secret; never its output, its input or its arguments.
class CommandRun {
 public:
  CommandRun();
  ~CommandRun();
  CommandRun(const CommandRun&) = delete;
  CommandRun& operator=(const CommandRun&) = delete;

  // The standard output of a program that exited with 0.
  Result<std::string> run(const Command& command);
  // For good: the run under way and all later ones end with HWS-EX-005.
  void cancel();

 private:
  UniqueFd cancelled_;
  std::vector<int> unreaped_;  // killed, but kept by the kernel
};

}  // namespace hawser
