// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// What: what systemd says of a service unit. A change names only what changed; merged into what was known before, it
// gives the present state. Threading: any. Failure: none.
namespace hawser::proxy {

struct UnitState {
  std::optional<std::string> load_state;
  std::optional<std::string> active_state;
  std::optional<std::string> result;
  std::optional<std::string> invocation;  // 32 hex digits; another for each start
  std::optional<std::uint32_t> main_pid;  // 0 while it isn't running: never signal this number
  std::optional<std::int32_t> exit_code;  // CLD_EXITED…; 0: hasn't ended
  std::optional<std::int32_t> exit_value;
  std::optional<std::uint64_t> started_at;  // Unix seconds
  std::optional<std::string> user;
  std::optional<std::string> group;
  std::vector<std::string> command;    // of ExecStart
  std::vector<std::string> stop_post;  // of ExecStopPost

  void merge(const UnitState& change);
  bool loaded() const { return load_state && *load_state == "loaded"; }
  // Everything of it has ended, ExecStopPost included.
  bool over() const;
  // As wait(2) gives it; nothing if the main process hasn't ended, or never ran.
  std::optional<int> wait_status() const;
};

// "203 (EXEC)": an exit value over 199 may be systemd's own word on why the program didn't come to run.
std::string describe_exit(std::int32_t value);

}  // namespace hawser::proxy
