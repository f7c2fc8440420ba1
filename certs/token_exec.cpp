// SPDX-License-Identifier: Apache-2.0
#include "certs/token_exec.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxOutput = 64UL * 1024;

}  // namespace

Result<Token> ExecTokenSource::attest(const Challenge& challenge) {
  Command command;
  command.argv = options_.command;
  command.env = {{"HAWSER_AUDIENCE", challenge.audience.empty() ? options_.audience : challenge.audience},
                 {"HAWSER_NONCE", challenge.nonce}};
  command.timeout = options_.timeout;
  command.max_output = kMaxOutput;
  auto printed = run_.run(command);
  if (!printed) {
    Error error(printed.error().code(), "HWS-ID-030", "the token command gave no token",
                "run it as hawserd's user: sudo -u hawser " + options_.command.front());
    return error.because(printed.error());
  }
  auto token = parse_token(std::move(*printed));
  if (!token)
    return Error(Code::kFailedPrecondition, "HWS-ID-031",
                 "what " + options_.command.front() + " printed is no token: one word of ASCII is wanted",
                 "have it print the token alone, and everything else on standard error");
  return std::move(*token);
}

}  // namespace hawser::certs
