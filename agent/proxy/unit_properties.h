// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "proxy/launcher.h"

// What: the properties of the transient units that we ask systemd for, as data: the sandbox of a generation, and of a
// short program that runs as the proxy's user (validation, cleaning up). Pure; systemd_bus.h sends them.
// Threading: any. Failure: none.
namespace hawser::proxy {

// Takes out what a generation leaves behind.
inline constexpr const char* kRemove = "/bin/rm";

// D-Bus type a(sasb).
struct UnitCommand {
  std::string path;
  std::vector<std::string> argv;  // with argv[0]
  bool may_fail = false;
};
// (bas)
struct UnitFilter {
  bool allow = true;
  std::vector<std::string> names;
};
// aay
struct UnitFields {
  std::vector<std::string> fields;  // "FIELD=value"
};
// h
struct UnitDescriptor {
  int fd = -1;  // borrowed
};

struct UnitProperty {
  using Value = std::variant<bool, std::uint32_t, std::int32_t, std::uint64_t, std::string, std::vector<std::string>,
                             UnitCommand, UnitFilter, UnitFields, UnitDescriptor>;
  std::string name;
  Value value;
  // An older systemd that doesn't know it may do without: it only makes the sandbox stricter.
  bool optional = false;
};
using UnitProperties = std::vector<UnitProperty>;

// A program that is run to its end.
struct ShortRun {
  std::string binary;
  std::vector<std::string> argv;  // with argv[0]
  std::vector<std::string> writable;
  uid_t uid = 0;
  gid_t gid = 0;
  int output = -1;  // borrowed; what it writes goes there
  bool errors_too = false;
  std::chrono::milliseconds limit{10'000};
  std::uint64_t memory = 0;  // as in CheckSpec
  ExtensionPermits permits{};
};

std::string unit_of(const std::string& generation);
// Empty if it isn't the unit of a generation.
std::string generation_of(const std::string& unit);

UnitProperties generation_properties(const GenerationSpec& spec);
UnitProperties short_run_properties(const ShortRun& run);
// The folders of these files, as ReadWritePaths= has them.
std::vector<std::string> writable_folders(const std::vector<std::string>& files);
// Removes the optional properties that systemd named in its refusal; their name, or nothing.
std::string drop_unknown(UnitProperties& properties, const std::string& refusal);

}  // namespace hawser::proxy
