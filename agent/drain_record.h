// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"

namespace hawser {

// How far a host is taken out of the mesh's choice (drain.h).
enum class DrainStage { kNone, kWithdrawn, kListeners };
const char* drain_stage_name(DrainStage stage);  // none, withdrawn, listeners

// What: an operator's drain as it is kept on disk, for it outlives hawserd. Durability: written aside and renamed; no
// file means that there's no drain. Threading: blocking; save() on the slow worker. Failure: HWS-DR-002 (can't be kept,
// or what is kept can't be read).
struct DrainRecord {
  DrainStage stage = DrainStage::kNone;
  std::int64_t since_ms = 0;  // Unix
  std::string boot;           // ends with this boot of the machine; empty: with `undrain` alone
  pid_t drained = 0;          // the proxy whose inbound listeners were drained
  std::string drained_boot;   // of `drained`: after a reboot another proxy may well have its number

  // Of another boot: none.
  static Result<DrainRecord> load(const std::string& path, const std::string& boot);
  Status save(const std::string& path) const;
};

}  // namespace hawser
