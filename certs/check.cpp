// SPDX-License-Identifier: Apache-2.0
#include "certs/check.h"

#include <algorithm>

#include "certs/der.h"
#include "certs/trust_state.h"
#include "certs/utc.h"
#include "certs/x509.h"

namespace hawser::certs {
namespace {

// DER as PEM; PEM as it is, and what is neither.
std::string as_pem(const std::string& bytes) {
  if (bytes.find("-----BEGIN") != std::string::npos) return bytes;
  return certificates_from_der(bytes).value_or(bytes);
}

void add(Checked& out, const char* check, bool good, std::string text) {
  out.findings.push_back({check, good, std::move(text)});
}

void check_lifetime(Checked& out, const std::vector<CertificateFacts>& chain, Loop::Wall now) {
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const auto& one = chain[i];
    const std::string who = i == 0 ? "it" : "intermediate " + one.subject;
    if (one.not_before > now)
      add(out, "lifetime", false, who + " begins at " + utc_text(one.not_before) + "; it is " + utc_text(now));
    else if (one.not_after <= now)
      add(out, "lifetime", false, who + " ended at " + utc_text(one.not_after) + "; it is " + utc_text(now));
    else if (i == 0)
      add(out, "lifetime", true, "valid from " + utc_text(one.not_before) + " to " + utc_text(one.not_after));
  }
}

void check_roots(Checked& out, const std::string& chain, const std::string& roots, Loop::Wall now) {
  const auto all = describe_bundle(roots);
  if (!all) return add(out, "roots", false, "the roots can't be read: " + all.error().message());
  const auto led = verify_chain(chain, roots);
  if (!led) return add(out, "roots", false, led.error().message());
  // To which, and is that one still alive?
  const auto split = split_bundle(roots);
  for (const auto& pem : *split) {
    if (!verify_chain(chain, pem)) continue;
    const auto root = describe_bundle(pem)->front();
    const bool alive = root.not_after > now;
    return add(out, "roots", alive,
               "leads to " + root.subject + " (sha256 " + root.sha256 + ")" +
                   (alive ? "" : ", which ended at " + utc_text(root.not_after)));
  }
  add(out, "roots", true, "leads to the roots");
}

}  // namespace

bool Checked::good() const {
  return std::all_of(findings.begin(), findings.end(), [](const Finding& finding) { return finding.good; });
}

Checked check_certificate(const CheckInput& input, Loop::Wall now) {
  Checked out;
  const std::string pem = as_pem(input.certificate);
  const auto split = split_bundle(pem);
  if (!split) {
    add(out, "format", false, split.error().message());
    return out;
  }
  std::string chain;
  for (const auto& one : *split) chain += one;
  auto facts = describe_bundle(chain);
  if (!facts) {
    add(out, "format", false, facts.error().message());
    return out;
  }
  add(out, "format", true,
      std::to_string(split->size()) + (split->size() == 1 ? " certificate" : " certificates") + "; serial " +
          facts->front().serial + ", key " + facts->front().key + ", sha256 " + facts->front().sha256);
  const auto leaf = parse_leaf(split->front());
  add(out, "spiffe-id", leaf.has_value(), leaf ? leaf->spiffe_id : leaf.error().message());
  check_lifetime(out, *facts, now);
  check_roots(out, chain, input.roots, now);
  const bool inside = pem.find("PRIVATE KEY-----") != std::string::npos;
  if (input.key.empty() && !inside) return out;
  const auto match = match_key(input.key.empty() ? std::string_view(pem) : input.key.reveal(), split->front());
  add(out, "key", match.has_value(), match ? "the private key is its own" : match.error().message());
  return out;
}

Result<std::string> roots_in_force(const std::string& trust_state, std::vector<std::string> exclude,
                                   const std::string& where) {
  auto state = parse_trust_state(trust_state);
  if (!state) return Error(state.error()).at(where);
  return TrustBundle({{}, std::move(exclude)}, std::move(*state)).pem();
}

}  // namespace hawser::certs
