// SPDX-License-Identifier: Apache-2.0
#include "binaries/tools.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/command.h"
#include "base/file.h"
#include "binaries/archive.h"

namespace hawser::binaries {
namespace {

constexpr std::chrono::minutes kFetchTime{10};
constexpr std::chrono::seconds kCheckTime{60};
constexpr std::size_t kMaxKeyFile = 4096;

bool installed(const std::string& program) {
  const char* variable = std::getenv("PATH");
  std::istringstream path(variable != nullptr ? variable : "/usr/sbin:/usr/bin:/sbin:/bin");
  for (std::string folder; std::getline(path, folder, ':');)
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  return false;
}

Status need(const std::string& program, const std::string& package) {
  if (installed(program)) return {};
  return Error(Code::kFailedPrecondition, "HWS-CLI-045", program + " isn't installed", "apt install " + package);
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto out = std::filesystem::absolute(path, error);
  return error ? path : out.string();
}

Error bad_signature(const std::string& file, const Error& cause) {
  return {Code::kPermissionDenied, "HWS-CLI-044", "the signature doesn't fit " + file + ": " + cause.message(),
          "fetch the file again, and get its maker's key from a place that you trust"};
}

// "[GNUPG:] VALIDSIG <fingerprint> …"
std::string fingerprint_in(const std::string& status) {
  std::istringstream lines(status);
  std::string mark;
  std::string word;
  std::string key;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    if (words >> mark >> word >> key && mark == "[GNUPG:]" && word == "VALIDSIG") return key;
  }
  return {};
}

// A key's file has a comment, and the key in its last line.
Result<std::string> minisign_key(const std::string& given) {
  if (!file::exists(given)) return given;
  auto text = file::read_bounded(given, kMaxKeyFile);
  if (!text) return text.error();
  std::istringstream lines(*text);
  std::string key;
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) key = line;
  return key;
}

Result<Signature> check_minisign(const std::string& file, const SignatureCheck& check) {
  if (auto there = need("minisign", "minisign"); !there) return there.error();
  auto key = minisign_key(check.key);
  if (!key) return key.error();
  Command command;
  command.argv = {"minisign", "-V", "-q", "-P", *key, "-m", file, "-x", check.signature};
  command.timeout = kCheckTime;
  CommandRun run;
  if (auto done = run.run(command); !done) return bad_signature(file, done.error());
  return Signature{"minisign", *key};
}

Result<Signature> check_gpg(const std::string& file, const SignatureCheck& check) {
  if (auto there = need("gpgv", "gpgv"); !there) return there.error();
  Command command;
  // Without a slash, a keyring would be one of ~/.gnupg.
  command.argv = {"gpgv", "--status-fd", "1", "--keyring", absolute(check.key), absolute(check.signature), file};
  command.timeout = kCheckTime;
  CommandRun run;
  auto said = run.run(command);
  if (!said) return bad_signature(file, said.error());
  std::string key = fingerprint_in(*said);
  if (key.empty())
    return bad_signature(file, Error(Code::kUnknown, "HWS-CLI-044", "gpgv doesn't tell whose signature it is"));
  return Signature{"gpg", std::move(key)};
}

}  // namespace

std::string without_secrets(const std::string& url) {
  const auto scheme = url.find("://");
  if (scheme == std::string::npos) return url;
  const auto query = url.find_first_of("?#");
  std::string out = url.substr(0, query);
  const auto host = scheme + 3;
  const auto path = std::min(out.find('/', host), out.size());
  if (const auto at = out.rfind('@', path); at != std::string::npos && at >= host) out.erase(host, at - host + 1);
  return query == std::string::npos ? out : out + "?...";
}

Status fetch(const std::string& url, const std::string& to) {
  if (auto there = need("curl", "curl"); !there) return there;
  const auto odd = [](unsigned char c) { return c <= ' ' || c == '"' || c == '\\' || c == 0x7f; };
  if (std::any_of(url.begin(), url.end(), odd))
    return Error(Code::kInvalidArgument, "HWS-CLI-043", "the URL has a character that a URL can't have",
                 "write it as %20, %22 or %5C");
  Command command;
  // Not among its arguments, which all of the host may read.
  command.input = "url = \"" + url + "\"\n";
  // curl's own limit holds only for a length that the server tells.
  command.argv = {"prlimit",
                  "--fsize=" + std::to_string(kMaxProgram),
                  "--",
                  "curl",
                  "--disable",
                  "--fail",
                  "--silent",
                  "--show-error",
                  "--location",
                  "--max-redirs",
                  "5",
                  "--proto",
                  "=http,https",
                  "--proto-redir",
                  url.rfind("https:", 0) == 0 ? "=https" : "=http,https",
                  "--connect-timeout",
                  "20",
                  "--max-filesize",
                  std::to_string(kMaxProgram),
                  "--output",
                  to,
                  "--config",
                  "-"};
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE"})
    if (const char* value = std::getenv(name)) command.env[name] = value;
  command.timeout = kFetchTime;
  CommandRun run;
  if (auto done = run.run(command); !done)
    return Error(Code::kUnavailable, "HWS-CLI-043",
                 "can't fetch " + without_secrets(url) + ": " + done.error().message(),
                 "is the URL right, and does this host reach it?");
  return {};
}

Result<Signature> check_signature(const std::string& file, const SignatureCheck& check) {
  for (const std::string& needed : {check.signature, file})
    if (!file::exists(needed))
      return Error(Code::kNotFound, "HWS-CLI-044", "can't read " + needed, "give --signature FILE");
  return check.signer == Signer::kMinisign ? check_minisign(file, check) : check_gpg(file, check);
}

}  // namespace hawser::binaries
