// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"
#include "certs/secret.h"

namespace hawser::certs {

enum class KeyKind { kEcP256, kEcP384, kRsa2048, kRsa3072, kRsa4096 };

// What: a fresh key and the request to certify it. Threading: any; CPU-bound: well under a millisecond for EC, up to
// seconds for RSA 4096. Failure: HWS-ID-012. PKCS#8 PEM.
Result<Secret> make_key(KeyKind kind);
// PEM `CERTIFICATE REQUEST` with the SPIFFE id as its only, critical subject alternative name.
Result<std::string> make_csr(const Secret& key, const std::string& spiffe_id);

}  // namespace hawser::certs
