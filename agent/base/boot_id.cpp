// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/boot_id.h"

#include "base/file.h"

namespace hawser {
namespace {

constexpr std::size_t kMaxId = 4096;

}  // namespace

std::string boot_id() {
  auto id = file::read_bounded("/proc/sys/kernel/random/boot_id", kMaxId);
  if (!id) return {};
  return id->substr(0, id->find('\n'));
}

}  // namespace hawser
