// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "certs/secret.h"

namespace hawser::certs {

// The `exp` claim of a JWT; none if it isn't a JWT or never ends. Nothing is verified: that's the CA's job.
std::optional<Loop::Wall> token_expiry(std::string_view jwt);

struct Token {
  Secret text;
  std::optional<Loop::Wall> expires;

  bool expired_at(Loop::Wall now) const { return expires && *expires <= now; }
};

// What: where the bearer token comes from. It is asked anew for each use, because whoever refreshes it rewrites it.
// Threading: read() blocks; on the slow worker. Failure: HWS-ID-020 where there's no usable token.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  virtual Result<Token> read() = 0;
};

}  // namespace hawser::certs
