// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

// What: durable files. Durability: write_atomic writes aside in the same folder, fsyncs, renames and fsyncs the folder,
// so that a crash at any instruction leaves the old content or the new one. Threading: blocking; use the slow worker.
// Failure: HWS-FS-001 (write), HWS-FS-002 (read), HWS-FS-003 (too large).
namespace hawser::file {

Status write_atomic(const std::string& path, std::string_view content, mode_t mode);
// The same for what is too much to have in memory at once: `produce` gives it to the sink piece by piece.
using Sink = std::function<Status(std::string_view)>;
Status write_atomic(const std::string& path, const std::function<Status(const Sink&)>& produce, mode_t mode);
// A symbolic link that replaces what is there: symlink(2) can't, rename(2) can, and atomically.
Status link_atomic(const std::string& target, const std::string& path);
Result<std::string> read_bounded(const std::string& path, std::size_t limit);
// Missing is fine; the folder is fsynced.
Status remove_durable(const std::string& path);
Status sync_folder(const std::string& path);
bool exists(const std::string& path);

}  // namespace hawser::file
