// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/cgroup.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

namespace hawser::netfilter {
namespace {

std::set<std::string> named(const Plan& plan) {
  std::set<std::string> out;
  for (const Rule& rule : plan.rules) out.insert(rule.match.cgroups.begin(), rule.match.cgroups.end());
  return out;
}

Status check_root(const std::string& root) {
  struct statfs found {};
  if (::statfs(root.c_str(), &found) == 0 && found.f_type == CGROUP2_SUPER_MAGIC) return {};
  return Error(Code::kFailedPrecondition, "HWS-NF-050", root + " isn't cgroup v2, so no cgroup can be exempt",
               "boot with systemd.unified_cgroup_hierarchy=1, or exempt users or marks instead");
}

// FNV-1a: it tells apart, nothing else.
void mix(std::uint64_t& hash, const void* bytes, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    hash ^= static_cast<const std::uint8_t*>(bytes)[i];
    hash *= 0x100000001b3;
  }
}

}  // namespace

Result<std::string> observe_cgroups(const Plan& plan, const std::string& root) {
  const auto names = named(plan);
  if (names.empty()) return std::string();
  if (auto fits = check_root(root); !fits) return fits.error();
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::string& name : names) {
    struct stat found {};
    if (::stat((root + "/" + name).c_str(), &found) != 0)
      return Error(
          Code::kNotFound, "HWS-NF-051", "cgroup " + name + " can't be exempt: " + std::strerror(errno),
          "start its unit first, or name the slice that it's in; systemctl show -P ControlGroup UNIT tells it");
    mix(hash, name.c_str(), name.size() + 1);
    mix(hash, &found.st_ino, sizeof found.st_ino);
  }
  char out[32];
  std::snprintf(out, sizeof out, "cgroups:%016llx", static_cast<unsigned long long>(hash));
  return std::string(out);
}

}  // namespace hawser::netfilter
