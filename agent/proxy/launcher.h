// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/extension_permits.h"
#include "base/result.h"

// What: starts, signals and reaps proxy generations, each in a process of its own that outlives us: a new launcher
// finds those of the one before it (adopt). Knows nothing of Envoy: the caller makes the command line. Threading: on
// the loop; callbacks too. Nothing blocks longer than a file write. Failure: HWS-BR-020 (can't be started), HWS-BR-021
// (exists already), HWS-BR-022 (no such generation), HWS-BR-023 (can't be signalled). Durability: a generation's record
// is on disk before its program runs.
namespace hawser::proxy {

struct GenerationSpec {
  std::string name;    // f1e0: family 1, epoch 0
  std::string binary;  // absolute path
  std::string binary_sha256;
  std::vector<std::string> argv;  // with argv[0]
  std::vector<std::string> env;   // NAME=value; nothing else is passed on
  uid_t uid = 0;
  gid_t gid = 0;
  std::string bootstrap;  // removed when the generation is reaped
  std::string log;        // output goes to this file; empty: to our standard error
  // What the program leaves in folders where only its own user may unlink.
  std::vector<std::string> leftovers;
  // The same, shared by all generations of a family: removed with the last one.
  std::vector<std::string> family_leftovers;
  ExtensionPermits permits{};    // what its sandbox lets it use
  std::uint64_t memory_max = 0;  // bytes over which the kernel ends it; 0: none, and always with the direct launcher
};

struct GenerationState {
  std::string name;
  std::string binary_sha256;
  pid_t pid = 0;
  bool running = false;
  int exit_status = -1;          // as wait(2) gives it; -1: unknown, since its holder was killed
  std::uint64_t started_at = 0;  // Unix seconds
  ExtensionPermits permits{};
  bool out_of_memory = false;  // ended since it had reached its limit
};

// A short program, run with the rights of a generation to its end: `envoy --mode validate`, `envoy --version`.
struct CheckSpec {
  std::string binary;             // absolute path
  std::vector<std::string> argv;  // with argv[0]
  uid_t uid = 0;
  gid_t gid = 0;
  bool errors_too = false;  // keep its standard error as well
  std::chrono::milliseconds timeout{10'000};
  std::size_t keep = 16384;    // bytes of output, from its end
  std::uint64_t memory = 0;    // bytes of its own that it may have (RLIMIT_DATA); 0: as many as it wants
  ExtensionPermits permits{};  // as in GenerationSpec
};

struct CheckResult {
  int exit_code = 0;  // the signal's number if one ended it
  std::string output;
};

class Launcher {
 public:
  using Started = std::function<void(Result<GenerationState>)>;
  using Reaped = std::function<void(Result<GenerationState>)>;
  using Checked = std::function<void(Result<CheckResult>)>;

  virtual ~Launcher() = default;
  // Finds the generations that run already; call once, before anything else.
  virtual Status adopt() = 0;
  // Answers when the program has been executed, or couldn't be.
  virtual void start(GenerationSpec spec, Started done) = 0;
  virtual Status signal(const std::string& name, int signal) = 0;
  // Waits for the end up to `wait`; if it came, the generation is forgotten and its files are removed. Otherwise the
  // answer has `running` set, and nothing changes.
  virtual void reap(const std::string& name, std::chrono::milliseconds wait, Reaped done) = 0;
  virtual std::vector<GenerationState> list() const = 0;
  // In the same sandbox as a generation, so that what passes here runs there. A program that fails is a result;
  // HWS-BR-025 (can't be started) and HWS-BR-026 (took too long) are errors.
  virtual void validate(CheckSpec spec, Checked done) = 0;
};

inline Error unknown_generation(const std::string& name) {
  return {Code::kNotFound, "HWS-BR-022", "there is no proxy generation " + name,
          "see `hawser status` for those that run"};
}

// f3 of f3e1.
inline std::string family_of(const std::string& name) {
  return name.substr(0, name.find('e'));
}

}  // namespace hawser::proxy
