// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

// What: how the store of proxy binaries lies on disk. For each binary a folder <sha256> with `envoy`, `binary.json`
// (what its installation found out) and, if it's locked away, `quarantine.json`; beside them the links `current` (what
// starts use), `previous` (what was current before) and `last-good` (what has served well). Who may write there is
// the caller's matter: the broker and root's command line do.
// Threading: blocking. Failure: those of base/file.h, HWS-BR-030 (no such binary). Durability: each change is written
// aside, synced and renamed.
namespace hawser::proxy {

// 64 digits of lower-case hex.
bool is_sha256(const std::string& text);

struct Quarantine {
  std::string reason;
  std::int64_t since = 0;  // Unix seconds
  std::string by;
};

enum class BinaryLink { kCurrent, kPrevious, kLastGood };

class BinaryFolder {
 public:
  explicit BinaryFolder(std::string folder) : folder_(std::move(folder)) {}

  const std::string& path() const { return folder_; }
  std::string folder_of(const std::string& sha256) const { return folder_ + "/" + sha256; }
  std::string program_of(const std::string& sha256) const { return folder_of(sha256) + "/envoy"; }

  // All that are there, by digest.
  std::vector<std::string> list() const;
  bool has(const std::string& sha256) const;

  // The digest that the link names; only the name counts, so that it is no way out of the store. Empty: it isn't there,
  // or names none.
  std::string target(BinaryLink link) const;
  Status point(BinaryLink link, const std::string& sha256) const;
  // No link is no failure.
  Status unlink(BinaryLink link) const;

  // A file that can't be read counts as a quarantine, too.
  std::optional<Quarantine> quarantine(const std::string& sha256) const;
  Status set_quarantine(const std::string& sha256, const Quarantine& quarantine) const;
  Status lift_quarantine(const std::string& sha256) const;

  // Null if there's none.
  nlohmann::json record(const std::string& sha256) const;

 private:
  std::string quarantine_path(const std::string& sha256) const { return folder_of(sha256) + "/quarantine.json"; }

  std::string folder_;
};

}  // namespace hawser::proxy
