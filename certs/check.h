// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "certs/secret.h"

// What: is a certificate good for a mesh, as somebody asks who has files and no agent. Pure; input is bounded as in
// x509.h. Threading: any. Failure: none; what is wrong is a finding.
namespace hawser::certs {

struct CheckInput {
  std::string certificate;  // PEM, leaf first, perhaps with its key; or one certificate as DER
  Secret key{};             // PEM; empty: the one in `certificate`, if there is one
  std::string roots;        // PEM
};

struct Finding {
  std::string check;  // format, spiffe-id, lifetime, chain, roots, key
  bool good = false;
  std::string text;
};

struct Checked {
  std::vector<Finding> findings;
  bool good() const;
};

Checked check_certificate(const CheckInput& input, Loop::Wall now);

// The roots in a file of trust_state.h but for these; `where` is its path. Failure: HWS-TR-003.
Result<std::string> roots_in_force(const std::string& trust_state, std::vector<std::string> exclude,
                                   const std::string& where);

}  // namespace hawser::certs
