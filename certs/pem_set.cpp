// SPDX-License-Identifier: Apache-2.0
#include "certs/pem_set.h"

#include <array>

#include "base/file.h"
#include "certs/path_trail.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxFile = 1 << 20;

std::array<std::string, 3> paths_in(const std::string& folder, const PemNames& names) {
  return {folder + "/" + names.key, folder + "/" + names.chain, folder + "/" + names.roots};
}

std::string state_of(const std::array<std::string, 3>& paths) {
  std::string out;
  for (const auto& path : paths) out += follow(path, [](const std::string&, const std::string&) {}).state + '\n';
  return out;
}

// May pass: the files are being written.
Error incomplete(const char* id, const std::string& why, const std::string& hint) {
  return {Code::kUnavailable, id, why, hint};
}

std::string named(const std::vector<PemNames>& layouts) {
  std::string out;
  for (const auto& names : layouts)
    out += (out.empty() ? "" : "; or ") + names.key + ", " + names.chain + ", " + names.roots;
  return out;
}

// The layout of which most is there; so that an error names what is missing of it.
const PemNames* best_of(const std::string& folder, const std::vector<PemNames>& layouts) {
  const PemNames* best = nullptr;
  int most = 0;
  for (const auto& names : layouts) {
    int there = 0;
    for (const auto& path : paths_in(folder, names)) there += file::exists(path) ? 1 : 0;
    if (there > most) {
      best = &names;
      most = there;
    }
  }
  return best;
}

Result<std::string> read(const std::string& path) {
  auto content = file::read_bounded(path, kMaxFile);
  if (content) return content;
  Error error = incomplete("HWS-CA-041", content.error().message(),
                           "let hawserd's user read it, or correct ca.folder and ca.layout");
  return error;
}

Error explain(const std::array<std::string, 3>& paths, const Error& cause) {
  const auto& [key, chain, roots] = paths;
  std::string what = chain + " or " + roots + " is no usable bundle of certificates";
  if (cause.id() == "HWS-ID-007") what = key + " isn't the key of " + chain;
  if (cause.id() == "HWS-ID-008") what = chain + " doesn't lead to " + roots;
  Error error = incomplete("HWS-CA-042", what, "have the three files written together by who makes them");
  error.because(cause);
  return error;
}

}  // namespace

std::vector<PemNames> names_of(PemLayout layout) {
  const PemNames istio = {"key.pem", "cert-chain.pem", "root-cert.pem"};
  const PemNames spiffe = {"private_key.pem", "certificates.pem", "ca_certificates.pem"};
  const PemNames cert_manager = {"tls.key", "tls.crt", "ca.crt"};
  const PemNames current = {"current/key.pem", "current/cert-chain.pem", "current/roots.pem"};
  const PemNames generation = {"key.pem", "cert-chain.pem", "roots.pem"};
  switch (layout) {
    case PemLayout::kIstio:
      return {istio};
    case PemLayout::kSpiffe:
    case PemLayout::kGke:
      return {spiffe};
    case PemLayout::kCertManager:
      return {cert_manager};
    case PemLayout::kHawser:
      return {current, generation};
    case PemLayout::kAuto:
      break;
  }
  return {istio, spiffe, cert_manager, current, generation};
}

std::vector<std::string> paths_of(const std::string& folder, PemLayout layout) {
  std::vector<std::string> out;
  for (const auto& names : names_of(layout))
    for (auto& path : paths_in(folder, names)) out.push_back(std::move(path));
  return out;
}

Result<IdentityPtr> load_pem_set(const std::string& folder, PemLayout layout) {
  const auto layouts = names_of(layout);
  const PemNames* const names = best_of(folder, layouts);
  if (names == nullptr)
    return Error(Code::kFailedPrecondition, "HWS-CA-040",
                 (file::exists(folder) ? "there's no certificate in " : "there's no folder ") + folder + "; it needs " +
                     named(layouts),
                 "have the files written there, or correct ca.folder and ca.layout");
  const auto paths = paths_in(folder, *names);
  const std::string before = state_of(paths);
  auto key = read(paths[0]);
  if (!key) return key.error();
  Secret secret(std::move(*key));
  auto chain = read(paths[1]);
  if (!chain) return chain.error();
  auto roots = read(paths[2]);
  if (!roots) return roots.error();
  if (state_of(paths) != before)
    return incomplete("HWS-CA-042", "the files in " + folder + " are being replaced", "none, they are read again");
  auto identity = make_identity(std::move(secret), *chain, *roots);
  if (!identity) return explain(paths, identity.error());
  return identity;
}

}  // namespace hawser::certs
