// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/asio_loop.h"
#include "base/health.h"
#include "sds/file_names.h"

namespace hawser::sds {

// What: the secrets of files that somebody asks for now, followed as the files change. A file that can't be used keeps
// what it held before, and is reported; what may be half-written is read again for a bounded time.
// Threading: on the loop; files are read on the slow worker. Failure: the health item "secret files" names file, cause
// and fix (file_names.h).
class FileSecrets {
 public:
  struct Options {
    FileAccess access;
    std::chrono::milliseconds settle{100};
    std::chrono::milliseconds again{500};
    unsigned tries = 20;  // to read what may be half-written
  };
  static constexpr std::size_t kMostNames = 64;

  FileSecrets(AsioLoop& loop, SlowWorker& slow, HealthSink& health, Options options);
  ~FileSecrets();
  FileSecrets(const FileSecrets&) = delete;
  FileSecrets& operator=(const FileSecrets&) = delete;

  // Each time that one of them has another content, from the loop's own turn.
  void on_change(std::function<void(const std::string& name)> changed);
  // All that is wanted from now on; names that aren't files' are left out. What is over kMostNames isn't served.
  void want(const std::set<std::string>& names);
  // Null: not wanted, or nothing usable yet.
  FileSecretPtr find(const std::string& name) const;
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::sds
