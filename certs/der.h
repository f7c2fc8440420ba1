// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "certs/secret.h"

// What: DER, as the Workload API has it, to PEM, as everybody else does. Pure; input may be anything, and is bounded:
// 1 MiB, 256 certificates. Threading: any. Failure: HWS-ID-006 (no certificates), HWS-ID-007 (no key).
namespace hawser::certs {

// Certificates in a row, order kept.
Result<std::string> certificates_from_der(std::string_view der);
// One PKCS#8 key.
Result<Secret> key_from_der(std::string_view der);

}  // namespace hawser::certs
