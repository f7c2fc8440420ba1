// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

// What: an identity as files for programs that know nothing of Hawser, each time as one set. The files are written into
// a fresh folder inside `to`, and one rename of the link `..data` puts it in force; the names lead through that link,
// as Kubernetes' volumes do. Who opens a file by name never sees a torn one; who opens `..data` once and reads from
// there sees key, chain and roots that belong together. Needs no OpenSSL: the command line has none. Threading:
// blocking. Durability: synced before it's in force; a crash leaves the old set or the new one, and what else it left
// is removed by the next write. Failure: HWS-XP-001 can't write, HWS-XP-002 not of that group or owner, HWS-XP-003
// something else has such a name there.
namespace hawser::certs {

enum class ExportLayout { kIstio, kSpiffe, kPem };

struct ExportTarget {
  std::string to;  // made if its parent is there
  ExportLayout layout = ExportLayout::kPem;
  std::optional<uid_t> owner;  // else who writes
  std::optional<gid_t> group;  // may read the key as well
};

struct ExportSet {
  std::string_view key_pem;
  std::string_view chain_pem;  // leaf first
  std::string_view roots_pem;
};

// The names that a layout has, key first.
std::vector<std::string> names_of(ExportLayout layout);
// Does nothing where that very set is in force. The set before stays for who is on the way to it.
Status write_export(const ExportTarget& target, const ExportSet& set, Loop::Wall now);
// Takes the set before away.
Status sweep_export(const ExportTarget& target);
// What write_export() made, and nothing else; the folder itself stays.
Status remove_export(const ExportTarget& target);

}  // namespace hawser::certs
