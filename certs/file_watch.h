// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/asio_loop.h"

namespace hawser::certs {

// What: tells when one of these paths, or what its links lead to, may have changed: a file written or renamed over, a
// link (Kubernetes' ..data, a time-stamped folder) put to another place, a folder made or taken away above it. A path
// that is a folder stands for what is directly in it. Paths need not exist. By inotify on each folder along the way,
// and by a look every `look_again` for what it doesn't tell (network file systems, watches that ran out).
// Threading: on the loop; the looks are lstat and readlink of a few local paths. `changed` runs on the loop, from its
// own turn, and may destroy the watch. From the constructor on nothing is missed: read the files after it. `changed`
// isn't run for what was there at that time. Failure: none; without inotify it looks every `look_again_blind`. Units:
// it settles for `settle` after the last event, but never holds more than ten times that back.
class FileWatch {
 public:
  struct Times {
    std::chrono::milliseconds settle{100};
    std::chrono::milliseconds look_again{30'000};
    std::chrono::milliseconds look_again_blind{2'000};
  };

  FileWatch(AsioLoop& loop, std::vector<std::string> paths, std::function<void()> changed);
  FileWatch(AsioLoop& loop, std::vector<std::string> paths, std::function<void()> changed, Times times);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // Watches these instead, from now on.
  void set_paths(std::vector<std::string> paths);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::certs
