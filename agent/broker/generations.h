// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/asio_loop.h"
#include "base/result.h"
#include "proxy/binary_store.h"
#include "proxy/launcher.h"

namespace hawser::broker {

// What: the policy of starting proxies: only binaries of the store, only as the proxy's user, only with a command line
// that the broker makes, with a bootstrap that only the broker can write.
// Threading: on the loop. Failure: HWS-BR-011…012 (proxy_args.h), HWS-BR-016 (bootstrap), HWS-BR-017 (signal),
// HWS-BR-018 (busy), HWS-BR-042 (nothing to repair now), HWS-BR-043 (repair failed), those of BinaryStore and Launcher.
// Durability: the bootstrap is on disk before its generation starts, and until it's reaped.
class Generations {
 public:
  struct Options {
    uid_t proxy_uid = 0;
    gid_t proxy_gid = 0;
    std::string boot_folder = "/var/lib/hawser/proxy/boot";
    std::string good_folder = "/var/lib/hawser/proxy";
    std::string admin_folder = "/run/hawser/proxy";
    std::string shm_folder = "/dev/shm";
    std::string self;        // our own program, which can also be a repair (proxy/shared_mark.h)
    std::string log_folder;  // empty: the proxy writes to our standard error
    std::chrono::milliseconds validate_timeout{30'000};
    ExtensionPermits permits;                     // of what is started or validated
    std::uint64_t memory_max = 0;                 // of what is started; 0: no limit
    std::uint64_t validate_memory = 1ULL << 30U;  // bytes: Envoy needs 62 MB for a small one
    std::chrono::milliseconds max_wait{120'000};
  };
  struct Validation {
    bool valid = false;
    std::string detail;
    std::string version;
    std::string hot_restart_version = {};  // of one that isn't the first of its family; empty: not known
  };
  struct Wanted {
    std::string generation;
    std::string bootstrap;
    std::string binary_sha256;  // empty: the store's current one
    std::vector<std::string> args;
  };

  Generations(AsioLoop& loop, proxy::Launcher& launcher, proxy::BinaryStore& store, Options options);

  // What equals the last good generation, epoch 0, isn't run again.
  void validate(const Wanted& wanted, std::function<void(Result<Validation>)> done);
  void start(const Wanted& wanted, proxy::Launcher::Started done);
  Status signal(const std::string& generation, int signal);
  void reap(const std::string& generation, std::chrono::milliseconds wait, proxy::Launcher::Reaped done);
  // Takes the mark of a successor that is gone out of the family's shared memory, while this generation alone runs.
  void repair(const std::string& generation, std::function<void(Status)> done);
  std::vector<proxy::GenerationState> list() const { return launcher_.list(); }
  const ExtensionPermits& permits() const { return options_.permits; }
  std::uint64_t memory_max() const { return options_.memory_max; }
  bool any_running() const;

  // The newest running generation is known to work; see last_good.h.
  void remember_good();
  // What hawserd has seen of a binary; see binary_store.h.
  Status quarantine(const std::string& sha256, const std::string& reason);
  Status mark_good(const std::string& sha256) { return store_.mark_good(sha256); }
  const proxy::BinaryFolder& binaries() const { return store_.folder(); }
  // With everything that was written down to start it faster.
  void forget_good();
  // Starts the last good one again.
  void cold_start(std::function<void(Status)> done);

 private:
  using Validated = std::function<void(Result<Validation>)>;

  std::string bootstrap_path(const std::string& generation, const char* suffix) const;
  void run_validation(const proxy::Binary& binary, const std::vector<std::string>& argv, Validation known,
                      const Validated& done);
  void find_version(const proxy::Binary& binary, std::function<void(Result<std::string>)> done);
  // Empty where it isn't told.
  void find_hot_restart_version(const proxy::Binary& binary, std::function<void(std::string)> done);

  AsioLoop& loop_;
  proxy::Launcher& launcher_;
  proxy::BinaryStore& store_;
  Options options_;
  bool validating_ = false;
  std::map<std::string, std::string> versions_;  // by digest; as many as the store has
  std::map<std::string, std::string> hot_restart_versions_;
};

}  // namespace hawser::broker
