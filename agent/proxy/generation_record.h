// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "base/result.h"
#include "proxy/launcher.h"
#include "proxy/process_identity.h"

// What: everything about one generation that has to outlive the broker, as JSON in <run folder>/<name>.json: written by
// the launcher with the specification, then by the holder with the processes, and again with the exit status.
// Threading: blocking, small files. Failure: HWS-BR-024 (unreadable), HWS-FS-001. Durability: write_atomic.
namespace hawser::proxy {

struct GenerationRecord {
  GenerationSpec spec;
  std::string boot;         // boot id at the time of the start
  ProcessIdentity holder;   // unset until it runs
  ProcessIdentity process;  // the program itself
  std::string invocation;   // of the systemd unit; empty under the direct launcher
  std::uint64_t started_at = 0;
  bool ended = false;
  int exit_status = -1;
  bool out_of_memory = false;
};

std::string record_path(const std::string& run_folder, const std::string& name);
Result<GenerationRecord> load_record(const std::string& path);
Status save_record(const std::string& path, const GenerationRecord& record);

}  // namespace hawser::proxy
