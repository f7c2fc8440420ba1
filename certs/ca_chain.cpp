// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_chain.h"

#include "certs/ca_errors.h"
#include "certs/x509.h"

namespace hawser::certs {
namespace {

void add(std::string& pem, const std::string& entry) {
  pem += entry;
  if (!pem.empty() && pem.back() != '\n') pem += '\n';
}

bool names_itself(const std::string& pem) {
  const auto facts = describe_bundle(pem);
  return facts && facts->front().subject == facts->front().issuer;
}

}  // namespace

Result<CaClient::Answer> answer_of_entries(const std::vector<std::string>& entries) {
  if (entries.size() < 2)
    return unusable_answer("has " + std::to_string(entries.size()) + " entries instead of at least 2");
  CaClient::Answer answer;
  for (std::size_t i = 0; i + 1 < entries.size(); ++i) add(answer.chain_pem, entries[i]);
  add(answer.roots_pem, entries.back());
  return answer;
}

Result<CaClient::Answer> answer_of_chain(const std::string& pem, const KnownRoots& known) {
  auto certificates = split_bundle(pem);
  if (!certificates) {
    Error error = unusable_answer("can't be read");
    error.because(certificates.error());
    return error;
  }
  CaClient::Answer answer;
  for (std::size_t i = 0; i < certificates->size(); ++i)
    add(i > 0 && names_itself((*certificates)[i]) ? answer.roots_pem : answer.chain_pem, (*certificates)[i]);
  if (!answer.roots_pem.empty()) return answer;
  if (known.system || known.pem.empty())
    return Error(Code::kFailedPrecondition, "HWS-CA-017",
                 "the CA sends no root, and none of the mesh is configured to trust its certificates by",
                 "set ca.root or control_plane.root to the mesh's root as PEM");
  answer.roots_pem = known.pem;
  return answer;
}

}  // namespace hawser::certs
