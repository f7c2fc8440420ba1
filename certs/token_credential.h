// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "certs/token.h"

namespace hawser::certs {

// What: a token that systemd hands to the service (systemd.exec(5): LoadCredential=, LoadCredentialEncrypted=), which
// only hawserd's own unit sees; read at each use. systemd renews it when the unit starts, and not by itself: therefore
// it attests once. Threading: see TokenSource. Failure: HWS-ID-032.
class CredentialTokenSource final : public TokenSource {
 public:
  // `folder`: $CREDENTIALS_DIRECTORY, empty if systemd gave none.
  CredentialTokenSource(std::string folder, std::string name) : folder_(std::move(folder)), name_(std::move(name)) {}
  Traits traits() const override { return {"credential", false, 0}; }
  Result<Token> attest(const Challenge& challenge) override;

 private:
  std::string folder_;
  std::string name_;
};

}  // namespace hawser::certs
