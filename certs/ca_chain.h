// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "certs/ca_client.h"

// What: what CAs send, sorted into chain and roots. Certificates are checked when the answer is accepted
// (ca_client.h). Threading: pure. Failure: HWS-CA-007 unusable, HWS-CA-017 no roots.
namespace hawser::certs {

// As istiod and Mesh CA answer: leaf first, and the last entry is the whole root bundle. At least two: a leaf alone
// would leave us without anything to trust.
Result<CaClient::Answer> answer_of_entries(const std::vector<std::string>& entries);

// Of CAs that send a chain and don't say where it ends: what is its own issuer is a root, but never the leaf. Without
// one, the roots that were configured are the mesh's, if they aren't the machine's own: these are for servers on the
// internet, and peers mustn't be let in by them.
struct KnownRoots {
  std::string pem;
  bool system = false;
};
Result<CaClient::Answer> answer_of_chain(const std::string& pem, const KnownRoots& known);

}  // namespace hawser::certs
