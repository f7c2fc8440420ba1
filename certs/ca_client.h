// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "certs/identity.h"

namespace hawser::certs {

// What: where certificates come from, whatever the protocol. One request at a time.
// Threading: on the loop; `done` runs on the loop, never from within sign(), and never after cancel() or destruction.
// Failure: HWS-CA-NNN, each naming its cause and fix.
class CaClient {
 public:
  struct Traits {
    std::string name = "istio";  // as in ca.type
    // Key and certificate come together, from somebody on this host who keeps them: nothing is requested, nothing is
    // shown for it, and none of it is written to our disk.
    bool makes_key = false;
    // Somebody else proves who asks: a program of the operator's.
    bool needs_proof = true;
  };
  struct Request {
    std::string csr_pem;  // empty where the source makes the key
    std::chrono::seconds ttl{0};
    Secret token;           // may be empty
    IdentityPtr client;     // may be null; proves who we are beside the token
    std::string spiffe_id;  // who we are to become
  };
  struct Answer {
    std::string chain_pem;  // leaf first
    std::string roots_pem;
    Secret key{};  // of a source that makes it, else empty
  };
  using Done = std::function<void(Result<Answer>)>;

  virtual ~CaClient() = default;
  virtual Traits traits() const = 0;
  virtual void sign(Request request, Done done) = 0;
  virtual void cancel() = 0;
  // For sources that learn by themselves of something newer than their last answer: `news` runs on the loop, as often
  // as they do, from the first sign() on, and the next sign() has it. Set before the first sign().
  virtual void on_news(std::function<void()> news) { (void)news; }
};

// Who a certificate must be for.
struct ExpectedId {
  std::string spiffe_id;
  std::vector<std::string> domain_aliases{};  // the same path in one of these trust domains is us, too

  bool matches(const std::string& id) const;
};

// What CAs get wrong is the same for each of them: the answer must be for our key and for who we are, lead to its own
// roots and not have ended. A leaf that begins in the future is taken: then it's this host's clock that is behind.
// Failure: HWS-CA-007 (unreadable), HWS-CA-008 (another identity), HWS-CA-009 (another key), HWS-CA-010 (expired).
Result<IdentityPtr> accept_answer(Secret key, const CaClient::Answer& answer, const ExpectedId& expected,
                                  Loop::Wall now);

}  // namespace hawser::certs
