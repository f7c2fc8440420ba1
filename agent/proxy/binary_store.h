// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"
#include "proxy/binary_folder.h"

// What: the proxy binaries that may be started: <folder>/<sha256>/envoy, and `current`, a link to one of those folders.
// A binary is given out only if root owns it and its folder, nobody else may write there, and its content has the
// digest that its folder is named after. Threading: blocking; hashing 107 MB takes half a second, so the result is
// remembered, in `memory` over a restart too, while device, inode, size and times stay the same (nobody but root could
// keep the time of change). Failure: HWS-BR-030 (nothing installed), HWS-BR-031
// (not trustworthy), HWS-BR-032 (digest differs), HWS-BR-027 (quarantined), HWS-BR-028 (the last one that could be
// used).
namespace hawser::proxy {

struct Binary {
  std::string path;
  std::string sha256;
};

class BinaryStore {
 public:
  // `owner` is root but in tests. `memory`: a file that only root may write; empty: nothing is kept.
  explicit BinaryStore(std::string folder, uid_t owner = 0, std::string memory = {});

  // An empty digest asks for the current one.
  Result<Binary> resolve(const std::string& sha256);
  // Locks it away until an operator allows it again. If it's the current one, the last good one becomes current;
  // without one that may be used it is refused, since something must be startable.
  Status quarantine(const std::string& sha256, const std::string& reason, std::int64_t now);
  // It becomes the last good one, unless it's quarantined.
  Status mark_good(const std::string& sha256);
  const BinaryFolder& folder() const { return folder_; }
  // Removes `memory`.
  Status forget();

 private:
  struct Seen {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;
    bool operator==(const Seen&) const = default;
  };

  Result<std::string> current() const;
  Status check_folder(const std::string& path) const;
  void load();
  void save() const;

  BinaryFolder folder_;
  uid_t owner_;
  std::string memory_;
  std::map<std::string, Seen> verified_;
};

}  // namespace hawser::proxy
