// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"

// What: the programs of others that an installation uses: curl(1) to fetch, minisign(1) and gpgv(1) to check a
// signature. Threading: blocking, bounded. Failure: HWS-CLI-045 (the program isn't installed; the hint names its
// package), and as said.
namespace hawser::binaries {

// As it may be shown and kept: without a password, and without a query, which may be a signature.
std::string without_secrets(const std::string& url);
// Ten minutes and 1 GiB at most; five redirections, never from https to http. Failure: HWS-CLI-043.
Status fetch(const std::string& url, const std::string& to);

enum class Signer { kMinisign, kGpg };
struct SignatureCheck {
  Signer signer = Signer::kMinisign;
  std::string key;        // minisign: a key, or the file of one; gpg: the file of a keyring
  std::string signature;  // a file, detached
};
struct Signature {
  std::string by;   // "minisign", "gpg"
  std::string key;  // that made it: the key itself, or the fingerprint
};
// Failure: HWS-CLI-044.
Result<Signature> check_signature(const std::string& file, const SignatureCheck& check);

}  // namespace hawser::binaries
