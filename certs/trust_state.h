// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "certs/trust_bundle.h"

// What: the trusted roots on disk, so that an overlap and an operator's word outlive a restart: one JSON file beside
// the identity, with a version and a digest. Threading: blocking, but for the pure functions. Failure: HWS-TR-003 (not
// what was written; load() puts it aside as NAME.damaged), HWS-TR-004 (read or write). Durability: as
// file::write_atomic.
namespace hawser::certs {

// `shift` is added to all moments: the bundle's clock doesn't jump, the file's is the wall's.
std::string build_trust_state(const TrustState& state, Loop::Duration shift = {});
Result<TrustState> parse_trust_state(std::string_view text);

struct LoadedTrust {
  TrustState state;
  std::optional<Error> note;
};
LoadedTrust load_trust_state(const std::string& path);
Status save_trust_state(const std::string& path, const std::string& text);

}  // namespace hawser::certs
