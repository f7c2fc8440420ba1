// SPDX-License-Identifier: Apache-2.0
#include "certs/token_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>

#include "base/fd.h"
#include "base/file.h"
#include "base/log.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxToken = 64UL * 1024;
constexpr char kFix[] = "make a new bundle or token and run hawser join again";

std::optional<Loop::Wall> issued(const Token& token) {
  const auto claims = token_claims(token.text.reveal());
  return claims ? claims->issued : std::nullopt;
}

}  // namespace

bool ends_with_reboot(const std::string& path) {
  for (const char* folder : {"/run/", "/var/run/", "/tmp/", "/dev/shm/"})
    if (path.starts_with(folder)) return true;
  struct statfs where {};
  if (::statfs(path.c_str(), &where) != 0) return false;
  return where.f_type == TMPFS_MAGIC || where.f_type == RAMFS_MAGIC;
}

std::optional<bool> is_newer(const Token& one, const Token& other) {
  const auto mine = issued(one);
  const auto theirs = issued(other);
  if (mine && theirs && *mine != *theirs) return *mine > *theirs;
  if (one.expires && other.expires) return *one.expires > *other.expires;
  return std::nullopt;
}

// Through the descriptor, so that the file that was looked at is the one that is changed.
void FileTokenSource::repair_mode(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0 || (info.st_mode & 0177U) == 0) return;
  const bool repaired = ::fchmod(fd.get(), 0600) == 0;
  if (!repaired && (told_open_ || (info.st_mode & 07U) == 0)) return;
  told_open_ = told_open_ || !repaired;
  log::warn(repaired ? "the token could be read by others; its mode is 0600 now" : "the token can be read by others",
            {{"path", path}, {"id", "HWS-ID-021"}});
}

Result<Token> FileTokenSource::load(const std::string& path) {
  repair_mode(path);
  auto content = file::read_bounded(path, kMaxToken);
  if (!content) {
    Error error(content.error().code(), "HWS-ID-020", "there is no token to prove who this host is", kFix);
    error.because(content.error());
    return error;
  }
  auto token = parse_token(std::move(*content));
  if (!token)
    return Error(Code::kFailedPrecondition, "HWS-ID-020", "the token in " + path + " is empty, or more than one word",
                 kFix);
  return std::move(*token);
}

void FileTokenSource::keep(const Token& token) {
  auto kept = file::write_atomic(kept_, token.text.reveal(), 0600);
  if (!kept)
    log::warn("the token ends with the next reboot, and can't be copied: " + kept.error().to_string(),
              {{"path", path_}, {"id", "HWS-ID-048"}});
  else if (!told_kept_)
    log::info("the token ends with the next reboot, and was copied to where it stays",
              {{"path", path_}, {"copy", kept_}});
  told_kept_ = kept.has_value();
}

Result<Token> FileTokenSource::attest(const Challenge&) {
  auto token = load(path_);
  if (kept_.empty() || kept_ == path_) return token;
  auto kept = file::exists(kept_) ? load(kept_) : Result<Token>(Error(Code::kNotFound, "HWS-ID-020", "no copy"));
  if (!token) return kept ? std::move(kept) : std::move(token);
  if (kept && kept->text.reveal() == token->text.reveal()) return token;
  if (kept && !is_newer(*token, *kept).value_or(true)) return kept;
  if (ends_with_reboot(path_)) keep(*token);
  return token;
}

}  // namespace hawser::certs
