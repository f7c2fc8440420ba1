// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "certs/secret.h"

namespace hawser::certs {

// What a JWT says of itself (RFC 7519 §4.1). Nothing is verified: that's the CA's job. Times that aren't there are
// none.
struct Claims {
  std::string issuer;
  std::string subject;
  std::vector<std::string> audiences;
  std::optional<Loop::Wall> issued;
  std::optional<Loop::Wall> expires;
};

// None if it isn't a JWT.
std::optional<Claims> token_claims(std::string_view jwt);
// Its `exp` alone; none if it isn't a JWT or never ends.
std::optional<Loop::Wall> token_expiry(std::string_view jwt);

struct Token {
  Secret text;
  std::optional<Loop::Wall> expires;

  bool expired_at(Loop::Wall now) const { return expires && *expires <= now; }
};

// What a file, a program or a server gave, without the white space around it. None if nothing is left, or more than one
// word of ASCII: it would not go into a header. A JWT's end is read; anything else has none.
std::optional<Token> parse_token(std::string text);

// What the other side wants the proof to be bound to. An empty audience is the source's configured one; sources that
// can't bind a nonce ignore it. Where each cloud stands (hybrid-mesh.md §3.1): GCE's JWT is for an audience; AWS signs
// the same document for everybody, so that document and signature travel as one text, bound to nothing; Azure's
// attested document and a TPM's quote are for a nonce of the server's, and are no good for the next one.
struct Challenge {
  std::string audience;
  std::string nonce;
};

// What: where the proof comes from that this host is who it says. It is asked anew for each use, because whoever
// refreshes it rewrites it. Threading: attest() blocks, in bounded time; on the slow worker. traits(): any thread.
// Failure: HWS-ID-020 where there's no usable token; HWS-ID-030 to 049 of each source, naming its cause and fix. No
// text of an error holds what was read: it may be a token, or part of one.
class TokenSource {
 public:
  struct Traits {
    std::string name;  // as in identity.token.source
    // A new proof can be had without an operator, however long the host was off.
    bool attests_again = false;
    // Share of a proof's lifetime that may be left before a new one is fetched; 0: each use reads it anyway.
    double refresh_at = 0;
  };

  virtual ~TokenSource() = default;
  virtual Traits traits() const = 0;
  virtual Result<Token> attest(const Challenge& challenge) = 0;
  // The CA refused the last one: the next attest() fetches a new one, however good the last still looks.
  virtual void forget() {}
  // Ends an attest() that is under way, from any thread, for good: hawserd is about to stop.
  virtual void cancel() {}
  Result<Token> read() { return attest({}); }
};

}  // namespace hawser::certs
