// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace hawser::certs {

struct CrlFacts {
  std::string issuer;
  Loop::Wall this_update;
  std::optional<Loop::Wall> next_update;
  std::size_t revoked = 0;
};

// What the proxy may be given, and for how long.
struct CrlVerdict {
  std::string pem;         // empty: nothing
  bool leaf_only = false;  // only the peer's own certificate is looked up
  std::vector<CrlFacts> lists;
  std::optional<Loop::Wall> until;  // the first list is out of date then
  std::optional<Error> trouble;     // why there's nothing to give
};

// What: judges a file of certificate revocation lists (PEM) for Envoy, which refuses every peer for whose issuer it has
// no list, or only one that is out of date (measured). Such a file is given to nobody, because a list that comes late
// mustn't cut a host off; what it revoked has mostly ended by then, too. Each root needs a list, and each intermediate
// of our own chain; where it has those of the intermediates alone, only peers' own certificates are looked up.
// Threading: pure. Failure (`trouble`): HWS-TR-009 (unusable), HWS-TR-010 (out of date), HWS-TR-011 (a CA has no list).
CrlVerdict judge_crls(const std::string& pem, const std::string& roots_pem, const std::string& chain_pem,
                      Loop::Wall now);

}  // namespace hawser::certs
