// SPDX-License-Identifier: Apache-2.0
#include "certs/system_roots.h"

#include <algorithm>

#include "base/file.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxRootsFile = 4U << 20U;
constexpr const char* kFix = "install the distribution's ca-certificates, or name a PEM root";

}  // namespace

const std::vector<std::string>& system_bundle_paths() {
  static const std::vector<std::string> all = {"/etc/ssl/certs/ca-certificates.crt",
                                               "/etc/pki/tls/certs/ca-bundle.crt",
                                               "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
                                               "/etc/ssl/ca-bundle.pem",
                                               "/etc/pki/tls/cacert.pem",
                                               "/etc/ssl/cert.pem"};
  return all;
}

Result<std::string> find_system_bundle(const std::vector<std::string>& paths) {
  const auto found =
      std::find_if(paths.begin(), paths.end(), [](const std::string& path) { return file::exists(path); });
  if (found != paths.end()) return *found;
  return Error(Code::kFailedPrecondition, "HWS-CA-018", "this machine has no bundle of roots", kFix);
}

Result<std::string> load_system_roots(const std::vector<std::string>& paths) {
  auto path = find_system_bundle(paths);
  if (!path) return path.error();
  auto pem = file::read_bounded(*path, kMaxRootsFile);
  if (!pem)
    return Error(pem.error().code(), "HWS-CA-018", "this machine's roots can't be read: " + pem.error().message(),
                 kFix);
  if (pem->find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    return Error(Code::kFailedPrecondition, "HWS-CA-018", *path + " holds no certificate", kFix);
  return pem;
}

}  // namespace hawser::certs
