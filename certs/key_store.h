// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "certs/identity.h"
#include "certs/machine.h"

namespace hawser::certs {

// What: the identity on disk: `current` is a link to a folder gen-<n> with key.pem, cert-chain.pem, roots.pem and
// meta.json (digests); beside it the generation before, and the join token. A cheap handle: copies share one lock,
// which is on the folder itself, so that leaving takes no lock file along. Threading: blocking; on the slow worker,
// except open() at start. A copy may be used after the owner is gone. Failure: HWS-ID-001 (another hawserd holds it),
// HWS-ID-002 (folder), HWS-ID-005 (write). What load() repaired or put aside is told in `notes`: HWS-ID-003 (mode),
// HWS-ID-004 (damage), HWS-ID-013 (of another machine, so that this one is a copy: two hosts must not be one).
// Durability: a generation is written aside and synced; one rename of the link puts it in force. A crash at any
// instruction leaves the old generation or the new one.
class KeyStore {
 public:
  struct Loaded {
    IdentityPtr identity;               // null: nothing usable
    std::optional<Loop::Wall> renewal;  // as planned when it was stored
    bool this_boot = false;             // stored since the host booted
    std::vector<Error> notes;
  };

  // Makes the folder (0700) if need be. `here`: this machine.
  static Result<KeyStore> open(const std::string& folder, Machine here = {});

  // A damaged generation is put aside as damaged-<n>; the one before it takes its place if that is whole. Of another
  // machine's all are removed; the token stays, since it's no host's own.
  Loaded load() const;
  Status store(const Identity& identity, std::optional<Loop::Wall> renewal = std::nullopt) const;
  Status store_token(std::string_view token) const;
  std::string token_path() const;
  // Everything that this class wrote; the folder itself stays.
  Status erase() const;

 private:
  struct Folder;
  explicit KeyStore(std::shared_ptr<const Folder> folder) : folder_(std::move(folder)) {}

  std::shared_ptr<const Folder> folder_;
};

}  // namespace hawser::certs
