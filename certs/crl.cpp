// SPDX-License-Identifier: Apache-2.0
#include "certs/crl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "certs/openssl_ptr.h"
#include "certs/utc.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxCrlFile = 8 << 20;
constexpr std::size_t kMaxLists = 64;
constexpr std::size_t kMaxCas = 512;

struct CrlFree {
  void operator()(X509_CRL* list) const { X509_CRL_free(list); }
};
using CrlPtr = std::unique_ptr<X509_CRL, CrlFree>;

Error unusable(const std::string& why) {
  return {Code::kInvalidArgument, "HWS-TR-009", "trust.crl: " + why,
          "have the CA write it as PEM (X509 CRL), one list for each of its certificates"};
}

Loop::Wall wall_at(const ASN1_TIME* time) {
  std::tm utc{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &utc) != 1) return Loop::Wall::min();
  return wall_of(::timegm(&utc));
}

bool at_end() {
  const unsigned long last = ERR_peek_last_error();
  const bool end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  if (end) ERR_clear_error();
  return end;
}

Result<std::vector<CrlPtr>> read_lists(const std::string& pem) {
  if (pem.size() > kMaxCrlFile) return unusable("it is over 8 MiB");
  std::vector<CrlPtr> out;
  auto in = reader_of(pem);
  while (X509_CRL* next = PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr)) {
    out.emplace_back(next);
    if (out.size() > kMaxLists) return unusable("it has more than 64 lists");
  }
  if (!at_end()) return unusable("broken: " + openssl_error());
  if (out.empty()) return unusable("there is no list in it");
  return out;
}

std::vector<X509Ptr> read_cas(const std::string& pem) {
  std::vector<X509Ptr> out;
  auto in = reader_of(pem);
  while (out.size() < kMaxCas) {
    X509* const next = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr);
    if (next == nullptr) break;
    out.emplace_back(next);
  }
  ERR_clear_error();
  return out;
}

CrlFacts facts_of(X509_CRL* list) {
  CrlFacts out;
  out.issuer = name_text(X509_CRL_get_issuer(list));
  out.this_update = wall_at(X509_CRL_get0_lastUpdate(list));
  if (const auto* next = X509_CRL_get0_nextUpdate(list)) out.next_update = wall_at(next);
  const auto* revoked = X509_CRL_get_REVOKED(list);
  out.revoked = revoked == nullptr ? 0 : static_cast<std::size_t>(sk_X509_REVOKED_num(revoked));
  return out;
}

bool is_of(X509_CRL* list, X509* ca) {
  const bool is = X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(ca)) == 0 &&
                  X509_CRL_verify(list, X509_get0_pubkey(ca)) == 1;
  ERR_clear_error();
  return is;
}

Error uncovered(X509* ca) {
  return {Code::kFailedPrecondition, "HWS-TR-011",
          "trust.crl has no list by " + name_text(X509_get_subject_name(ca)) +
              ", so that the proxy would refuse all of its certificates; no list is in force",
          "add that CA's list to the file, also when a root is rotated"};
}

Error out_of_date(const CrlFacts& list, Loop::Wall now) {
  const bool early = list.this_update > now;
  return {Code::kFailedPrecondition, "HWS-TR-010",
          "the list by " + list.issuer + " in trust.crl " +
              (early ? "begins at " + utc_text(list.this_update) : "ended at " + utc_text(*list.next_update)) +
              ", so that the proxy would refuse all of its certificates; no list is in force",
          early ? "set this host's clock (timedatectl)" : "bring the CA's present list onto this host"};
}

// The one by this CA that lasts longest, if it is good now; several are fine, since the proxy takes a good one too.
std::optional<Error> check_ca(X509* ca, const std::vector<CrlPtr>& lists, Loop::Wall now, CrlVerdict& out) {
  std::optional<CrlFacts> best;
  const auto end_of = [](const CrlFacts& list) { return list.next_update.value_or(Loop::Wall::max()); };
  for (std::size_t i = 0; i < lists.size(); ++i) {
    const CrlFacts& one = out.lists[i];
    if (!is_of(lists[i].get(), ca)) continue;
    const bool better = !best || (one.this_update <= now && (best->this_update > now || end_of(*best) < end_of(one)));
    if (better) best = one;
  }
  if (!best) return uncovered(ca);
  if (best->this_update > now || end_of(*best) <= now) return out_of_date(*best, now);
  if (best->next_update) out.until = out.until ? std::min(*out.until, *best->next_update) : *best->next_update;
  return std::nullopt;
}

}  // namespace

CrlVerdict judge_crls(const std::string& pem, const std::string& roots_pem, const std::string& chain_pem,
                      Loop::Wall now) {
  CrlVerdict out;
  auto lists = read_lists(pem);
  if (!lists) {
    out.trouble = lists.error();
    return out;
  }
  for (const auto& list : *lists) out.lists.push_back(facts_of(list.get()));
  const auto chain = read_cas(chain_pem);
  for (std::size_t i = 1; i < chain.size() && !out.trouble; ++i)
    out.trouble = check_ca(chain[i].get(), *lists, now, out);
  for (const auto& root : read_cas(roots_pem)) {
    if (out.trouble || out.leaf_only) break;
    out.trouble = check_ca(root.get(), *lists, now, out);
    // Where intermediates sign the peers' certificates, and have their lists, the roots' may be lacking.
    out.leaf_only = out.trouble && out.trouble->id() == "HWS-TR-011" && chain.size() > 1;
    if (out.leaf_only) out.trouble.reset();
  }
  if (!out.trouble) out.pem = pem;
  return out;
}

}  // namespace hawser::certs
