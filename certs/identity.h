// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "certs/secret.h"

namespace hawser::certs {

// What: who this host is: one key, its certificate and the roots to trust, which always change together. Never
// formatted or logged as a whole; the key is wiped when the last owner lets go; copies of key_pem are their makers' to
// wipe. Threading: immutable once shared. Failure: none.
struct Identity {
  Secret key_pem;
  std::string chain_pem;  // leaf, then intermediates; no roots
  std::string roots_pem;
  std::string spiffe_id;
  std::string serial;  // lower-case hex
  std::string issuer;
  Loop::Wall not_before;
  Loop::Wall not_after;

  Identity() = default;
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;

  bool expired_at(Loop::Wall now) const { return not_after <= now; }
  bool same_leaf(const Identity& other) const { return chain_pem == other.chain_pem && key_pem == other.key_pem; }
  bool same_as(const Identity& other) const { return same_leaf(other) && roots_pem == other.roots_pem; }
};

using IdentityPtr = std::shared_ptr<const Identity>;

// Reads the facts out of the leaf, and drops duplicates, and roots from the chain. Failure: HWS-ID-006 (no
// certificate), HWS-ID-007 (the key isn't the leaf's), HWS-ID-008 (the chain doesn't lead to the roots). Times are the
// caller's to judge.
Result<IdentityPtr> make_identity(Secret key, const std::string& chain_pem, const std::string& roots_pem);

}  // namespace hawser::certs
