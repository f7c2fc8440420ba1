// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "certs/secret.h"

// What: secrets that the mesh's configuration names by file, as Istio writes them: `file-cert:CHAIN~KEY`,
// `file-root:PATH`, and `file-root:system` for what this machine trusts. The configuration comes from the control
// plane, so it may name files in the allowed folders alone, whatever links are on the way, and never our own state; and
// what is served is certificates and a key that fits them, never a file's text as such. Threading: blocking. Failure:
// HWS-SDS-004 (not allowed), HWS-SDS-005 (not readable, or no PEM), HWS-SDS-006 (the key is another certificate's),
// HWS-SDS-007 (no such name).
namespace hawser::sds {

struct FileAccess {
  std::vector<std::string> folders;
  std::vector<std::string> forbidden;  // within these folders nothing is served
};

struct FileSecret {
  std::string chain_pem;  // with the key
  certs::Secret key_pem;
  std::string roots_pem;  // without

  friend bool operator==(const FileSecret&, const FileSecret&) = default;
};
using FileSecretPtr = std::shared_ptr<const FileSecret>;

bool is_file_name(const std::string& name);
bool is_file_roots(const std::string& name);
// The files that it names, absolute; none if it is malformed, or the machine has no bundle.
std::vector<std::string> paths_of(const std::string& name);
Result<FileSecretPtr> load_file_secret(const std::string& name, const FileAccess& access);

}  // namespace hawser::sds
