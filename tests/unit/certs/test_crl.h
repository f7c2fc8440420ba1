// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "base/loop.h"

namespace hawser::certs::test {

// What: a CA that only revokes. Aborts the test program on failure.
class CrlIssuer {
 public:
  explicit CrlIssuer(const std::string& name);
  ~CrlIssuer();

  const std::string& certificate() const { return pem_; }
  std::string list(Loop::Wall from, Loop::Wall to, int revoked = 0) const;

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
  std::string pem_;
};

}  // namespace hawser::certs::test
