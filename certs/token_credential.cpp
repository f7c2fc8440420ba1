// SPDX-License-Identifier: Apache-2.0
#include "certs/token_credential.h"

#include "base/file.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxCredential = 64UL * 1024;

}  // namespace

Result<Token> CredentialTokenSource::attest(const Challenge&) {
  const std::string fix = "a drop-in for hawser.service with LoadCredential=" + name_ + ":/path, then restart it";
  if (folder_.empty())
    return Error(Code::kFailedPrecondition, "HWS-ID-032", "systemd gave hawserd no credentials", fix);
  auto content = file::read_bounded(folder_ + "/" + name_, kMaxCredential);
  if (!content) {
    Error error(content.error().code(), "HWS-ID-032", "the credential '" + name_ + "' can't be read", fix);
    return error.because(content.error());
  }
  auto token = parse_token(std::move(*content));
  if (!token)
    return Error(Code::kFailedPrecondition, "HWS-ID-032", "the credential '" + name_ + "' holds no token", fix);
  return std::move(*token);
}

}  // namespace hawser::certs
