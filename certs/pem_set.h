// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "certs/identity.h"

// What: key, chain and roots as other programs keep them in a folder, read as one set. Threading: blocking.
// Failure: HWS-CA-040 (no such set), HWS-CA-041 (a file is missing or can't be read), HWS-CA-042 (they don't belong
// together, or were being replaced); each names the file. What may be half-written is retryable().
namespace hawser::certs {

enum class PemLayout { kAuto, kIstio, kSpiffe, kGke, kCertManager, kHawser };

struct PemNames {
  std::string key;
  std::string chain;
  std::string roots;
};

// By which names the layout may have its files, in the order in which they're looked for. kAuto has them all.
std::vector<PemNames> names_of(PemLayout layout);
// Every path that counts, for a watch.
std::vector<std::string> paths_of(const std::string& folder, PemLayout layout);

// The first layout of which all three files are there. Anything may have happened between reading one file and the
// next, so the links are looked at again afterwards, and key, chain and roots have to fit.
Result<IdentityPtr> load_pem_set(const std::string& folder, PemLayout layout);

}  // namespace hawser::certs
