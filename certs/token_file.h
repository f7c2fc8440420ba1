// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "certs/token.h"

namespace hawser::certs {

// What: a token in a file, as `hawser join` stores it. Surrounding white space is trimmed. A mode that lets others read
// it is set back to 0600, with a warning (HWS-ID-021): whoever could read it may still use it.
// Threading: see TokenSource. Failure: HWS-ID-020 when it is missing, unreadable or empty.
class FileTokenSource final : public TokenSource {
 public:
  explicit FileTokenSource(std::string path) : path_(std::move(path)) {}
  Traits traits() const override { return {"file", false, 0}; }
  Result<Token> attest(const Challenge& challenge) override;

 private:
  std::string path_;
};

}  // namespace hawser::certs
