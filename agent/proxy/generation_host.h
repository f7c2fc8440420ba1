// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::proxy {

struct HostedGeneration {
  std::string name;  // f1e0
  pid_t pid = 0;
  bool running = false;
  int exit_status = -1;  // as wait(2) gives it; -1: unknown
  std::string binary_sha256;
  Loop::Wall started_at;
};

struct Validation {
  bool valid = false;
  std::string detail;  // the proxy's own words when not valid
  std::string version;
  std::string hot_restart_version = {};  // "11.104"; empty: not known
};

struct StartedGeneration {
  pid_t pid = 0;
  std::string binary_sha256;
};

struct ReapedGeneration {
  bool ended = false;
  int exit_status = -1;
  bool out_of_memory = false;  // the kernel ended it at its limit
};

// Of the store; empty: none.
struct HostedBinaries {
  std::string current_sha256;    // what a start without a digest uses
  std::string last_good_sha256;  // what has served well
};

enum class BinaryMark { kQuarantine, kGood };

// What: who runs proxy generations for the supervisor: the broker, or a test. The supervisor itself has no privilege.
// Threading: on the loop; each callback runs once, on the loop, maybe at once; those of a host that is destroyed never.
// Failure: the host's own ids (HWS-BR-…).
class GenerationHost {
 public:
  template <typename T>
  using Done = std::function<void(Result<T>)>;

  virtual ~GenerationHost() = default;
  virtual void observe(Done<std::vector<HostedGeneration>> done) = 0;
  // Bytes that a generation which is started now may have, as of the last observation; 0: no limit.
  virtual std::uint64_t memory_max() const { return 0; }
  // `binary_sha256`: of the store; empty: its current one.
  virtual void validate(const std::string& generation, const std::string& bootstrap,
                        const std::vector<std::string>& args, const std::string& binary_sha256,
                        Done<Validation> done) = 0;
  virtual void start(const std::string& generation, const std::string& bootstrap, const std::vector<std::string>& args,
                     const std::string& binary_sha256, Done<StartedGeneration> done) = 0;
  virtual void signal(const std::string& generation, int signal, std::function<void(Status)> done) = 0;
  // Waits for its end up to `wait`; then its files are removed and it is forgotten.
  virtual void reap(const std::string& generation, std::chrono::milliseconds wait, Done<ReapedGeneration> done) = 0;
  // Takes out the mark that a successor left which was ended before it was LIVE. Only when none is on its way.
  virtual void repair(const std::string& generation, std::function<void(Status)> done) = 0;
  virtual void binaries(Done<HostedBinaries> done) = 0;
  // Durable. A quarantined binary isn't started or validated (HWS-BR-027) until an operator allows it again; if it was
  // current, the last good one is from then on. HWS-BR-028: it is current, and no other was good; it stays as it is.
  virtual void mark(const std::string& sha256, BinaryMark mark, const std::string& reason,
                    std::function<void(Status)> done) = 0;
};

}  // namespace hawser::proxy
