// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "base/result.h"

#include <array>
#include <cerrno>
#include <cstring>

namespace hawser {

std::string_view code_name(Code code) {
  static constexpr std::array<std::string_view, 17> kNames = {
      "ok",        "cancelled",      "unknown",           "invalid argument",   "deadline exceeded",
      "not found", "already exists", "permission denied", "resource exhausted", "failed precondition",
      "aborted",   "out of range",   "unimplemented",     "internal",           "unavailable",
      "data loss", "unauthenticated"};
  auto index = static_cast<std::size_t>(code);
  return index < kNames.size() ? kNames[index] : "unknown";
}

Error& Error::at(std::string where) {
  where_ = std::move(where);
  return *this;
}

Error& Error::because(Error cause) {
  cause_ = std::make_shared<const Error>(std::move(cause));
  return *this;
}

std::string Error::to_string() const {
  std::string text = where_.empty() ? message_ : where_ + ": " + message_;
  for (const Error* cause = cause_.get(); cause != nullptr; cause = cause->cause()) text += ": " + cause->message();
  if (!hint_.empty()) text += " (fix: " + hint_ + ")";
  if (!id_.empty()) text += " [" + id_ + "]";
  return text;
}

bool Error::retryable() const {
  switch (code_) {
    case Code::kCancelled:
    case Code::kDeadlineExceeded:
    case Code::kResourceExhausted:
    case Code::kAborted:
    case Code::kInternal:
    case Code::kUnavailable:
      return true;
    default:
      return false;
  }
}

static Code code_of(int err) {
  switch (err) {
    case ENOENT:
      return Code::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Code::kResourceExhausted;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    case EINVAL:
      return Code::kInvalidArgument;
    case EAGAIN:
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

Error errno_error(int err, std::string id, std::string_view what, std::string hint) {
  return {code_of(err), std::move(id), std::string(what) + ": " + std::strerror(err), std::move(hint)};
}

}  // namespace hawser
