// SPDX-License-Identifier: Apache-2.0
#include "trust_input.h"

#include "base/file.h"
#include "certs/x509.h"
#include "istio/mesh/v1alpha1/proxy.pb.h"

namespace hawser {
namespace {

constexpr std::size_t kMaxRoots = 1 << 20;
constexpr std::size_t kMaxCrl = 8 << 20;
constexpr int kMaxEntries = 256;

Result<std::string> read(const std::string& path, std::size_t limit) {
  auto content = file::read_bounded(path, limit);
  if (content && !content->empty()) return content;
  Error error(content ? Code::kInvalidArgument : content.error().code(), "HWS-TR-001",
              path + (content ? " is empty; the roots before it stay" : " can't be read; the roots before it stay"),
              "write it whole, readable for hawserd's user");
  if (!content) error.because(content.error());
  return error;
}

Error unusable(const std::string& why) {
  return {Code::kInvalidArgument, "HWS-TR-012", "the control plane's ProxyConfig is refused: " + why,
          "correct caCertificates of the mesh's configuration"};
}

}  // namespace

TrustFiles read_trust_files(const config::TrustSettings& settings) {
  TrustFiles out;
  for (const auto& path : settings.roots) out.roots.emplace(path, read(path, kMaxRoots));
  if (settings.crl.empty()) return out;
  out.crl = read(settings.crl, kMaxCrl);
  if (!out.crl) {
    Error error(out.crl.error().code(), "HWS-TR-009", "trust.crl: " + settings.crl + " is empty or can't be read",
                "write it whole, readable for hawserd's user");
    if (out.crl.error().cause() != nullptr) error.because(*out.crl.error().cause());
    out.crl = error;
  }
  return out;
}

Result<std::string> roots_of_proxy_config(const std::string& config) {
  istio::mesh::v1alpha1::ProxyConfig message;
  if (!message.ParseFromString(config)) return unusable("it can't be read");
  if (message.ca_certificates_pem_size() > kMaxEntries) return unusable("it has more than 256 certificates");
  std::string out;
  for (const auto& pem : message.ca_certificates_pem()) {
    const auto split = certs::split_bundle(pem);
    if (!split) {
      Error error = unusable(split.error().message());
      return error;
    }
    for (const auto& one : *split) out += one;
  }
  if (out.size() > kMaxRoots) return unusable("it has over 1 MiB of certificates");
  return out;
}

}  // namespace hawser
