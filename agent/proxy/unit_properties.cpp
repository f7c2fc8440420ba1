// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/unit_properties.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

namespace hawser::proxy {
namespace {

using Texts = std::vector<std::string>;
using namespace std::string_literals;

constexpr std::string_view kPrefix = "hawser-proxy-";
constexpr std::string_view kSuffix = ".service";
constexpr std::uint64_t kMaxFiles = 1U << 20U;
constexpr std::uint64_t kMicroseconds = 1'000'000;
constexpr std::uint64_t kStopTimeout = 10 * kMicroseconds;
constexpr std::uint64_t kStartTimeout = 10 * kMicroseconds;
constexpr std::int32_t kOomScore = -500;
constexpr std::int32_t kNotPermitted = 1;  // EPERM

// Code may be mapped from these, and from the program itself. A dash: it may be missing.
Texts executable(const std::string& program, const std::string& also) {
  Texts out{program, "-/lib", "-/lib64", "-/usr/lib", "-/usr/lib64"};
  if (!also.empty()) out.push_back(also);
  return out;
}

void add_user(UnitProperties& out, uid_t uid, gid_t gid) {
  out.push_back({"User", std::to_string(uid)});
  out.push_back({"Group", std::to_string(gid)});
  out.push_back({"NoNewPrivileges", true});
  out.push_back({"CapabilityBoundingSet", std::uint64_t{0}});
  out.push_back({"AmbientCapabilities", std::uint64_t{0}});
  out.push_back({"UMask", std::uint32_t{0077}});
}

// The strictest that Envoy runs and hot-restarts with: /dev/shm and the network namespace with its abstract sockets
// stay shared, since the generations of a family find each other there.
void add_sandbox(UnitProperties& out, const Texts& writable, const Texts& executables,
                 const ExtensionPermits& permits) {
  for (const char* name : {"PrivateUsers", "PrivateTmp", "PrivateDevices", "PrivateMounts", "ProtectKernelTunables",
                           "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock",
                           "ProtectHostname", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "PrivateIPC"})
    out.push_back({name, true, true});
  // LuaJIT and V8 write the code that they execute. LuaJIT panics without, at its first use; V8 traps at the start.
  if (!permits.lua && !permits.wasm) out.push_back({"MemoryDenyWriteExecute", true, true});
  // Another unit of this user that stops would take the shared memory of all.
  out.push_back({"RemoveIPC", false});
  out.push_back({"ProtectSystem", "strict"s});
  out.push_back({"ProtectHome", "yes"s});
  out.push_back({"ProtectProc", "invisible"s, true});
  out.push_back({"ProcSubset", "pid"s, true});
  out.push_back({"DevicePolicy", "closed"s});
  out.push_back({"KeyringMode", "private"s, true});
  out.push_back({"RestrictNamespaces", std::uint64_t{0}});
  out.push_back({"RestrictAddressFamilies", UnitFilter{true, {"AF_UNIX", "AF_INET", "AF_INET6"}}});
  out.push_back({"SystemCallArchitectures", Texts{"native"}});
  // mincore: absl's unwinder, on 1.36 to 1.40. What is refused fails rather than kills, so that a proxy that tries
  // something new goes on.
  Texts calls{"@system-service", "mincore"};
  if (permits.wasm) calls.emplace_back("@pkey");  // V8's own protection of its code
  out.push_back({"SystemCallFilter", UnitFilter{true, std::move(calls)}});
  out.push_back({"SystemCallFilter", UnitFilter{false, {"@resources", "@privileged"}}});
  out.push_back({"SystemCallErrorNumber", kNotPermitted});
  if (!writable.empty()) out.push_back({"ReadWritePaths", writable});
  out.push_back({"NoExecPaths", Texts{"/"}, true});
  out.push_back({"ExecPaths", executables, true});
  // Its memory holds private keys.
  out.push_back({"LimitCORE", std::uint64_t{0}});
}

}  // namespace

std::string unit_of(const std::string& generation) {
  return std::string(kPrefix) + generation + std::string(kSuffix);
}

std::string generation_of(const std::string& unit) {
  std::string_view rest = unit;
  if (!rest.starts_with(kPrefix) || !rest.ends_with(kSuffix) || rest.size() <= kPrefix.size() + kSuffix.size())
    return {};
  rest = rest.substr(kPrefix.size(), rest.size() - kPrefix.size() - kSuffix.size());
  // f1e0; the broker's own short runs share the prefix.
  const auto digits = [&rest] {
    const auto end = std::min(rest.find_first_not_of("0123456789"), rest.size());
    rest.remove_prefix(end);
    return end > 0;
  };
  const std::string name(rest);
  if (rest.empty() || rest.front() != 'f') return {};
  rest.remove_prefix(1);
  if (!digits() || rest.empty() || rest.front() != 'e') return {};
  rest.remove_prefix(1);
  return digits() && rest.empty() ? name : std::string();
}

std::vector<std::string> writable_folders(const std::vector<std::string>& files) {
  Texts out;
  for (const std::string& path : files) {
    std::string folder = std::filesystem::path(path).parent_path().string();
    // Stays writable under ProtectSystem=strict, and must be the host's own: the generations share memory there.
    if (folder.empty() || folder == "/dev/shm") continue;
    folder.insert(0, 1, '-');
    if (std::find(out.begin(), out.end(), folder) == out.end()) out.push_back(std::move(folder));
  }
  return out;
}

UnitProperties generation_properties(const GenerationSpec& spec) {
  const std::string label = std::string(kPrefix) + spec.name;
  UnitProperties out;
  out.push_back({"Description", "Hawser: proxy generation " + spec.name});
  out.push_back({"Slice", "hawser.slice"s});
  // The start is over when the program has been executed, and fails if it can't be.
  out.push_back({"Type", "exec"s});
  out.push_back({"ExecStart", UnitCommand{spec.binary, spec.argv, false}});
  Texts executables = executable(spec.binary, spec.leftovers.empty() ? "" : kRemove);
  if (!spec.leftovers.empty()) {
    Texts remove{kRemove, "-f", "--"};
    remove.insert(remove.end(), spec.leftovers.begin(), spec.leftovers.end());
    // Also when nobody is there to reap it.
    out.push_back({"ExecStopPost", UnitCommand{kRemove, std::move(remove), true}});
  }
  if (!spec.env.empty()) out.push_back({"Environment", spec.env});
  add_user(out, spec.uid, spec.gid);
  add_sandbox(out, writable_folders(spec.leftovers), executables, spec.permits);
  // Started after the proxy means stopped before it: at shutdown the rules go first. Never After=: a proxy that the
  // broker starts while it starts itself would wait for it.
  out.push_back({"Before", Texts{"hawser.service", "hawser-broker.service"}});
  out.push_back({"Restart", "no"s});  // the epoch is part of the command line
  out.push_back({"KillMode", "mixed"s});
  out.push_back({"TimeoutStartUSec", kStartTimeout});
  out.push_back({"TimeoutStopUSec", kStopTimeout});
  out.push_back({"LimitNOFILE", kMaxFiles});
  out.push_back({"LimitNOFILESoft", kMaxFiles});
  out.push_back({"OOMScoreAdjust", kOomScore});
  // No MemoryHigh: a proxy that is slowed down by it looks like one that hangs, and gives nothing back.
  if (spec.memory_max != 0) out.push_back({"MemoryMax", spec.memory_max, true});
  const std::string output = spec.log.empty() ? "journal" : "append:" + spec.log;
  out.push_back({"StandardOutput", output});
  out.push_back({"StandardError", output});
  out.push_back({"SyslogIdentifier", label});
  out.push_back({"LogExtraFields", UnitFields{{"HAWSER_GENERATION=" + spec.name}}, true});
  out.push_back({"LogRateLimitIntervalUSec", std::uint64_t{0}, true});
  return out;
}

UnitProperties short_run_properties(const ShortRun& run) {
  UnitProperties out;
  out.push_back({"Description", "Hawser: " + std::filesystem::path(run.binary).filename().string() + " as the proxy"});
  out.push_back({"Slice", "hawser.slice"s});
  out.push_back({"Type", "exec"s});
  out.push_back({"ExecStart", UnitCommand{run.binary, run.argv, false}});
  add_user(out, run.uid, run.gid);
  add_sandbox(out, run.writable, executable(run.binary, {}), run.permits);
  out.push_back({"KillMode", "mixed"s});
  // Nobody has to clean up after it, not even when we are killed meanwhile.
  out.push_back({"CollectMode", "inactive-or-failed"s});
  const auto limit = static_cast<std::uint64_t>(std::chrono::microseconds(run.limit).count());
  out.push_back({"TimeoutStartUSec", limit});
  out.push_back({"RuntimeMaxUSec", limit});
  out.push_back({"TimeoutStopUSec", kMicroseconds});
  if (run.memory != 0) out.push_back({"LimitDATA", run.memory});
  if (run.output >= 0) {
    out.push_back({"StandardOutputFileDescriptor", UnitDescriptor{run.output}});
    if (run.errors_too) out.push_back({"StandardErrorFileDescriptor", UnitDescriptor{run.output}});
  }
  return out;
}

std::string drop_unknown(UnitProperties& properties, const std::string& refusal) {
  // "Cannot set property ProcSubset, or unknown property."
  constexpr std::string_view kBegin = "Cannot set property ";
  const auto begin = refusal.find(kBegin);
  if (begin == std::string::npos || refusal.find("unknown property", begin) == std::string::npos) return {};
  const auto at = begin + kBegin.size();
  const std::string name = refusal.substr(at, refusal.find(',', at) - at);
  const auto removed =
      std::erase_if(properties, [&name](const auto& item) { return item.optional && item.name == name; });
  return removed > 0 ? name : std::string();
}

}  // namespace hawser::proxy
