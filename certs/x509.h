// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

// What: what we need to know of certificates; pure. Input may come from the network, so sizes and counts are bounded.
// Threading: any. Failure: HWS-ID-006 (no or bad certificate), HWS-ID-007 (key mismatch), HWS-ID-008 (doesn't verify).
namespace hawser::certs {

struct Leaf {
  std::string spiffe_id;
  std::string serial;  // lower-case hex
  std::string issuer;
  Loop::Wall not_before;
  Loop::Wall not_after;
};

// Of the first certificate, which must have exactly one URI name, a SPIFFE id.
Result<Leaf> parse_leaf(const std::string& pem);
Status match_key(std::string_view key_pem, const std::string& chain_pem);
// Each certificate as PEM of its own, normalised; duplicates dropped, order kept; at least one.
Result<std::vector<std::string>> split_bundle(const std::string& pem);
// Signatures only: times are judged apart, because a fresh intermediate may be younger than the leaf, which CAs date
// back. Any certificate of `roots_pem` is an anchor, also one that isn't self-signed.
Status verify_chain(const std::string& chain_pem, const std::string& roots_pem);
std::string sha256_hex(std::string_view content);

// What people compare: of each certificate in a bundle.
struct CertificateFacts {
  std::string subject;
  std::string issuer;
  std::string serial;  // lower-case hex
  std::string sha256;  // of its DER, lower-case hex
  std::string key;     // "EC prime256v1", "RSA 2048"
  Loop::Wall not_before;
  Loop::Wall not_after;
};
Result<std::vector<CertificateFacts>> describe_bundle(const std::string& pem);

}  // namespace hawser::certs
