// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/unit_state.h"

#include <csignal>
#include <utility>

namespace hawser::proxy {
namespace {

constexpr int kCoreFlag = 0x80;
constexpr int kExitShift = 8;
constexpr int kByte = 0xff;

template <typename T>
void take(std::optional<T>& into, const std::optional<T>& from) {
  if (from) into = from;
}

}  // namespace

void UnitState::merge(const UnitState& change) {
  take(load_state, change.load_state);
  take(active_state, change.active_state);
  take(result, change.result);
  take(invocation, change.invocation);
  take(main_pid, change.main_pid);
  take(exit_code, change.exit_code);
  take(exit_value, change.exit_value);
  take(started_at, change.started_at);
  take(user, change.user);
  take(group, change.group);
  if (!change.command.empty()) command = change.command;
  if (!change.stop_post.empty()) stop_post = change.stop_post;
}

bool UnitState::over() const {
  return active_state && (*active_state == "inactive" || *active_state == "failed");
}

std::optional<int> UnitState::wait_status() const {
  if (!exit_code || !exit_value) return std::nullopt;
  switch (*exit_code) {
    case CLD_EXITED:
      return (*exit_value & kByte) << kExitShift;
    case CLD_KILLED:
      return *exit_value & kByte;
    case CLD_DUMPED:
      return (*exit_value & kByte) | kCoreFlag;
    default:
      return std::nullopt;
  }
}

std::string describe_exit(std::int32_t value) {
  static constexpr std::pair<std::int32_t, const char*> kNames[] = {
      {200, "CHDIR"},        {203, "EXEC"},
      {205, "LIMITS"},       {206, "OOM_ADJUST"},
      {209, "STDOUT"},       {214, "SETSCHEDULER"},
      {216, "GROUP"},        {217, "USER"},
      {218, "CAPABILITIES"}, {219, "CGROUP"},
      {222, "STDERR"},       {225, "NETWORK"},
      {226, "NAMESPACE"},    {227, "NO_NEW_PRIVILEGES"},
      {228, "SECCOMP"},      {231, "ADDRESS_FAMILIES"},
      {237, "KEYRING"},
  };
  std::string out = std::to_string(value);
  for (const auto& [number, name] : kNames)
    if (number == value) out += std::string(" (") + name + ")";
  return out;
}

}  // namespace hawser::proxy
