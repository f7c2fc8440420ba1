// SPDX-License-Identifier: Apache-2.0
#include "certs/token_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxToken = 64 * 1024;
constexpr char kFix[] = "make a new bundle or token and run hawser join again";

// Through the descriptor, so that the file that was looked at is the one that is changed.
void repair_mode(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0 || (info.st_mode & 0177U) == 0) return;
  const bool repaired = ::fchmod(fd.get(), 0600) == 0;
  log::warn(repaired ? "the token could be read by others; its mode is 0600 now" : "the token can be read by others",
            {{"path", path}, {"id", "HWS-ID-021"}});
}

void trim(std::string& text) {
  constexpr char kSpace[] = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  const auto last = text.find_last_not_of(kSpace);
  if (first == std::string::npos) return text.clear();
  text.erase(last + 1);
  text.erase(0, first);
}

}  // namespace

Result<Token> FileTokenSource::attest(const Challenge&) {
  repair_mode(path_);
  auto content = file::read_bounded(path_, kMaxToken);
  if (!content) {
    Error error(content.error().code(), "HWS-ID-020", "there is no token to prove who this host is", kFix);
    error.because(content.error());
    return error;
  }
  trim(*content);
  if (content->empty())
    return Error(Code::kFailedPrecondition, "HWS-ID-020", "the token in " + path_ + " is empty", kFix);
  Token token;
  token.expires = token_expiry(*content);
  token.text = Secret(std::move(*content));
  return token;
}

}  // namespace hawser::certs
