// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace hawser {

// What: the one error vocabulary. Codes are the canonical ones of gRPC (google/rpc/code.proto), so edges map one to
// one.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

std::string_view code_name(Code code);

// What: one failure as an operator reads it. `id` is stable and documented in docs/errors.md; `hint` says how to fix
// it; `where` is file:line:column of the input where there is one.
class Error {
 public:
  Error(Code code, std::string id, std::string message, std::string hint = {})
      : code_(code), id_(std::move(id)), message_(std::move(message)), hint_(std::move(hint)) {}

  Code code() const { return code_; }
  const std::string& id() const { return id_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  const std::string& where() const { return where_; }
  const Error* cause() const { return cause_.get(); }

  Error& at(std::string where);
  Error& because(Error cause);

  // One line: [where: ]message[: cause…] (fix: hint) [id].
  std::string to_string() const;

  // Would the same call, made later and unchanged, have a chance?
  bool retryable() const;

 private:
  Code code_;
  std::string id_;
  std::string message_;
  std::string hint_;
  std::string where_;
  std::shared_ptr<const Error> cause_;
};

// An Error from errno: the code follows the errno, the message ends in strerror's text.
Error errno_error(int err, std::string id, std::string_view what, std::string hint = {});

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(Error error)
      : tl::expected<T, Error>(tl::unexpect, std::move(error)) {}  // NOLINT(google-explicit-constructor)
};

template <>
class [[nodiscard]] Result<void> : public tl::expected<void, Error> {
 public:
  using tl::expected<void, Error>::expected;
  Result() = default;
  Result(Error error)
      : tl::expected<void, Error>(tl::unexpect, std::move(error)) {}  // NOLINT(google-explicit-constructor)
};

using Status = Result<void>;

}  // namespace hawser
