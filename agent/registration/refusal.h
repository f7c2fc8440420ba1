// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace hawser::registration {

// Who asks to be registered.
struct Applicant {
  std::string ns;
  std::string group;
  std::string service_account;
};

// What: why a control plane refuses a registration, as an operator can act on it; by the status and the words with
// which istiod (pilot/pkg/autoregistration, 1.30 and 1.31) and devmesh end the stream. None for an end that has nothing
// to do with registration. Threading: pure. HWS-RG-003 no such group · 004 another service account · 005 another
// namespace, or an identity that contradicts the node · 006 the plane couldn't verify the identity · 007 the plane
// couldn't write the entry · 009 no such entry.
std::optional<Error> explain_refusal(Code code, const std::string& message, const Applicant& who);

}  // namespace hawser::registration
