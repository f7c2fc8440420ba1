// SPDX-License-Identifier: Apache-2.0
#include "sds/file_names.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <string_view>

#include "base/fd.h"
#include "base/file.h"
#include "certs/x509.h"

namespace hawser::sds {
namespace {

constexpr std::string_view kCert = "file-cert:";
constexpr std::string_view kRoot = "file-root:";
static_assert(kCert.size() == kRoot.size());
constexpr std::string_view kSystem = "file-root:system";
constexpr std::size_t kMaxFile = 1 << 20;
// Where distributions keep what they trust, as one file.
constexpr const char* kBundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // newer RHEL
    "/etc/ssl/ca-bundle.pem",                             // SUSE
    "/etc/ssl/cert.pem",                                  // BSD, older Alpine
};

// Istio's agent runs in /, so its relative paths mean that.
std::string absolute(std::string_view path) {
  while (path.substr(0, 2) == "./") path.remove_prefix(2);
  return path.empty() || path.front() == '/' ? std::string(path) : "/" + std::string(path);
}

std::string real_path(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) != nullptr ? resolved : path;
}

bool is_within(const std::string& path, const std::vector<std::string>& folders) {
  return std::any_of(folders.begin(), folders.end(), [&](const std::string& folder) {
    std::string real = real_path(folder);
    if (real.back() != '/') real += '/';
    return path.rfind(real, 0) == 0;
  });
}

bool is_named_within(const std::string& path, const std::vector<std::string>& folders) {
  return is_within(path, folders) || std::any_of(folders.begin(), folders.end(), [&](const std::string& folder) {
           return path.rfind(folder + "/", 0) == 0;
         });
}

Error not_allowed(const std::string& path, const std::string& real) {
  return {Code::kPermissionDenied, "HWS-SDS-004",
          "the mesh's configuration names " + path + (real == path || real.empty() ? "" : ", which is " + real) +
              "; it isn't in a folder of sds.files",
          "add its folder to sds.files, or correct the configuration"};
}

// What was opened is judged, not what the path means a moment later.
std::string opened_path(int fd) {
  char target[PATH_MAX];
  const ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
  return length > 0 ? std::string(target, static_cast<std::size_t>(length)) : std::string();
}

Result<std::string> read_allowed(const std::string& path, const FileAccess& access, bool anywhere) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    const int why = errno;
    // That it isn't there is told only of where one may look.
    if (!anywhere && !is_named_within(path, access.folders)) return not_allowed(path, {});
    return errno_error(why, "HWS-SDS-005", "can't read " + path, "let hawserd's user read it");
  }
  const std::string real = opened_path(fd.get());
  if ((!anywhere && !is_within(real, access.folders)) || is_within(real, access.forbidden))
    return not_allowed(path, real);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return Error(Code::kFailedPrecondition, "HWS-SDS-005", path + " is no file", "correct the mesh's configuration");
  auto content = file::read_bounded("/proc/self/fd/" + std::to_string(fd.get()), kMaxFile);
  if (!content) return Error(content.error().code(), "HWS-SDS-005", "can't read " + path, content.error().hint());
  return content;
}

Result<std::string> certificates_in(const std::string& path, const FileAccess& access, bool anywhere = false) {
  auto text = read_allowed(path, access, anywhere);
  if (!text) return text.error();
  auto split = certs::split_bundle(*text);
  if (!split) {
    // Unavailable: a file may be half-written.
    Error error(Code::kUnavailable, "HWS-SDS-005", path + " holds no usable certificates", "have it written again");
    error.because(split.error());
    return error;
  }
  std::string out;
  for (const auto& pem : *split) out += pem;
  return out;
}

Result<FileSecretPtr> load_pair(const std::vector<std::string>& paths, const FileAccess& access) {
  auto out = std::make_shared<FileSecret>();
  auto chain = certificates_in(paths[0], access);
  if (!chain) return chain.error();
  out->chain_pem = std::move(*chain);
  auto key = read_allowed(paths[1], access, false);
  if (!key) return key.error();
  out->key_pem = certs::Secret(std::move(*key));
  if (auto fits = certs::match_key(out->key_pem.reveal(), out->chain_pem); !fits) {
    Error error(Code::kUnavailable, "HWS-SDS-006", paths[1] + " isn't the key of " + paths[0],
                "have both written together by who makes them");
    error.because(fits.error());
    return error;
  }
  return FileSecretPtr(std::move(out));
}

}  // namespace

bool is_file_name(const std::string& name) {
  return name.rfind(kCert, 0) == 0 || name.rfind(kRoot, 0) == 0;
}

bool is_file_roots(const std::string& name) {
  return name.rfind(kRoot, 0) == 0;
}

std::vector<std::string> paths_of(const std::string& name) {
  if (name == kSystem) {
    for (const char* path : kBundles)
      if (file::exists(path)) return {path};
    return {};
  }
  const std::string_view rest = std::string_view(name).substr(std::min(kRoot.size(), name.size()));
  if (rest.empty() || rest.find('\0') != std::string_view::npos) return {};
  if (is_file_roots(name)) return {absolute(rest)};
  const auto tilde = rest.find('~');
  if (tilde == std::string_view::npos || tilde == 0 || tilde + 1 == rest.size()) return {};
  return {absolute(rest.substr(0, tilde)), absolute(rest.substr(tilde + 1))};
}

Result<FileSecretPtr> load_file_secret(const std::string& name, const FileAccess& access) {
  const auto paths = paths_of(name);
  if (paths.empty())
    return Error(Code::kInvalidArgument, "HWS-SDS-007",
                 name == kSystem ? "this machine has no bundle of trusted certificates"
                                 : "'" + name + "' isn't file-cert:CHAIN~KEY or file-root:PATH",
                 name == kSystem ? "install ca-certificates" : "correct the mesh's configuration");
  if (!is_file_roots(name)) return load_pair(paths, access);
  auto roots = certificates_in(paths.front(), access, name == kSystem);
  if (!roots) return roots.error();
  auto out = std::make_shared<FileSecret>();
  out->roots_pem = std::move(*roots);
  return FileSecretPtr(std::move(out));
}

}  // namespace hawser::sds
