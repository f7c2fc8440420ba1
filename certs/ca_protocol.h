// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "certs/ca_client.h"

namespace hawser::certs {

// What: all in which the CAs that are asked over gRPC differ; GrpcCa does the rest. Threading: on the loop, never
// blocking. Failure: answer() HWS-CA-007 (unusable), or what the CA says in it (ca_errors.h).
class CaProtocol {
 public:
  using Metadata = std::vector<std::pair<std::string, std::string>>;  // names in lower case

  virtual ~CaProtocol() = default;
  virtual std::string name() const = 0;    // as in ca.type
  virtual std::string method() const = 0;  // /package.Service/Method
  // For each attempt; `client` is null where no certificate is shown. The caller wipes it: it may hold the token.
  virtual std::string request(const CaClient::Request& request) = 0;
  virtual Metadata metadata() const = 0;  // besides the token
  virtual Result<CaClient::Answer> answer(const std::string& bytes) const = 0;
};

}  // namespace hawser::certs
