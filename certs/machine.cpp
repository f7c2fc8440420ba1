// SPDX-License-Identifier: Apache-2.0
#include "certs/machine.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "certs/x509.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxMachineFile = 4096;
// In front of the machine id; never changes, or every host would take itself for a clone.
constexpr char kSalt[] = "hawser machine 1 ";

std::string first_line(const std::string& path) {
  const auto text = file::read_bounded(path, kMaxMachineFile);
  if (!text) return {};
  const auto end = text->find_first_of("\r\n");
  return text->substr(0, end);
}

bool in_memory(const std::string& path) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) == 0 && info.f_type == TMPFS_MAGIC;
}

std::string machine_id(const std::string& root) {
  const std::string path = root + "/etc/machine-id";
  if (in_memory(path) && !in_memory(root + "/etc")) return {};
  const std::string id = first_line(path);
  const bool made = id.size() == 32 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
  return made ? sha256_hex(kSalt + id) : std::string();  // before the first boot it's empty or "uninitialized"
}

std::string instance_id(const std::string& root) {
  // The firmware first: on a copy's first boot the file is the original's until cloud-init has run.
  if (auto tag = first_line(root + "/sys/class/dmi/id/board_asset_tag"); tag.rfind("i-", 0) == 0) return tag;
  return first_line(root + "/var/lib/cloud/data/instance-id");
}

}  // namespace

bool are_same(const Machine& a, const Machine& b) {
  if (!a.instance.empty() && !b.instance.empty()) return a.instance == b.instance;
  return a.id.empty() || b.id.empty() || a.id == b.id;
}

Machine observe_machine(const std::string& root) {
  return {machine_id(root), instance_id(root), first_line(root + "/proc/sys/kernel/random/boot_id")};
}

}  // namespace hawser::certs
