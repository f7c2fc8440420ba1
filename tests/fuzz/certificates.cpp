// SPDX-License-Identifier: Apache-2.0
// Certificates and revocation lists of strangers, PEM and DER: refused, or read the same way by each of our functions.
#include <algorithm>
#include <chrono>

#include "certs/check.h"
#include "certs/crl.h"
#include "certs/trust_bundle.h"
#include "certs/x509.h"
#include "targets.h"

namespace hawser::fuzz {
namespace {

using namespace certs;

const Loop::Wall kNow{std::chrono::seconds(1'800'000'000)};

std::string in_pem(std::string_view label, std::string_view der) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out = "-----BEGIN " + std::string(label) + "-----\n";
  for (std::size_t i = 0; i < der.size(); i += 3) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8U | (i + k < der.size() ? static_cast<unsigned char>(der[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) out += i + k > der.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63U];
    if (i % 48 == 45) out += '\n';
  }
  return out + "\n-----END " + std::string(label) + "-----\n";
}

void check_bundle(const std::string& pem) {
  const auto split = split_bundle(pem);
  const auto facts = describe_bundle(pem);
  require(split.has_value() == facts.has_value(), "a bundle is one for everybody");
  (void)parse_leaf(pem);
  TrustBundle bundle{{}};
  const auto set = bundle.set("/f", pem, kNow);
  if (!split) {
    require(!set && bundle.pem().empty(), "what can't be read isn't trusted");
    return;
  }
  require(facts->size() >= split->size() && !split->empty(), "no certificate is made up");
  std::string joined;
  for (const auto& one : *split) joined += one;
  const auto again = split_bundle(joined);
  require(again && *again == *split, "a normalised bundle stays as it is");
  (void)verify_chain(joined, split->back());
  if (!set) return;
  require(split_bundle(bundle.pem())->size() == split->size(), "each is trusted once");
  for (const auto& fact : *facts) bundle.drop(fact.sha256);
  require(bundle.pem().empty(), "what is dropped is not");
}

}  // namespace

// A byte that says which kind, then the bytes.
void certificates(std::string_view input) {
  if (input.empty()) return;
  const auto kind = static_cast<unsigned char>(input[0]) % 4;
  const std::string bytes(input.substr(1));
  const std::string pem = kind == 1 ? in_pem("CERTIFICATE", bytes) : kind == 3 ? in_pem("X509 CRL", bytes) : bytes;
  if (kind < 2) check_bundle(pem);
  if (kind >= 2) {
    const auto verdict = judge_crls(pem, pem, pem, kNow);
    require(verdict.trouble.has_value() == verdict.pem.empty(), "lists are given or there's a reason");
  }
  CheckInput all;
  all.certificate = bytes;
  all.roots = bytes;
  require(!check_certificate(all, kNow).findings.empty(), "there is something to say of each file");
}

}  // namespace hawser::fuzz
