// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace hawser {

// What: how a program that an operator named is started: in a process group of its own, so that whoever started it can
// end whatever it started; with no descriptor of ours but the three here, and no signal state of ours. What ends it and
// reaps it is the caller's. Threading: any. Failure: HWS-EX-001.
struct SpawnStreams {
  // -1: /dev/null
  int in = -1;
  int out = -1;
  int err = -1;
};

// Without an environment (NAME=VALUE), ours.
Result<pid_t> spawn_group(const std::vector<std::string>& argv, const SpawnStreams& streams,
                          const std::vector<std::string>* environment = nullptr);

}  // namespace hawser
