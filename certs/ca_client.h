// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/result.h"
#include "certs/identity.h"

namespace hawser::certs {

// What: a certificate authority, whatever its protocol. One request at a time.
// Threading: on the loop; `done` runs on the loop, never from within sign(), and never after cancel() or destruction.
// Failure: HWS-CA-NNN, each naming its cause and fix.
class CaClient {
 public:
  struct Request {
    std::string csr_pem;
    std::chrono::seconds ttl{0};
    Secret token;        // may be empty
    IdentityPtr client;  // may be null; proves who we are beside the token
  };
  struct Answer {
    std::string chain_pem;  // leaf first
    std::string roots_pem;
  };
  using Done = std::function<void(Result<Answer>)>;

  virtual ~CaClient() = default;
  virtual void sign(Request request, Done done) = 0;
  virtual void cancel() = 0;
};

// What CAs get wrong is the same for each of them: the answer must be for our key and for who we are, lead to its own
// roots and not have ended. A leaf that begins in the future is taken: then it's this host's clock that is behind.
// Failure: HWS-CA-007 (unreadable), HWS-CA-008 (another identity), HWS-CA-009 (another key), HWS-CA-010 (expired).
Result<IdentityPtr> accept_answer(Secret key, const CaClient::Answer& answer, const std::string& spiffe_id,
                                  Loop::Wall now);

}  // namespace hawser::certs
