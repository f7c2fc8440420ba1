// SPDX-License-Identifier: Apache-2.0
#include "cli/command.h"

#include <sysexits.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "config/value.h"

namespace hawser::cli {
namespace {

// Milliseconds of more than 24 days don't fit into what poll(2) takes.
constexpr std::chrono::hours kLongestWait{24};

}  // namespace

int exit_code_of(const Error& error) {
  const std::string& id = error.id();
  if (id == "HWS-RPC-002") return EX_UNAVAILABLE;
  if (id.rfind("HWS-CF-", 0) == 0) return EX_CONFIG;
  // A plan's own checks, at their place in the configuration.
  if (id.rfind("HWS-NF-", 0) == 0 && !error.where().empty()) return EX_CONFIG;
  switch (error.code()) {
    case Code::kInvalidArgument:
      return EX_DATAERR;
    case Code::kNotFound:
      return EX_NOINPUT;
    case Code::kPermissionDenied:
    case Code::kUnauthenticated:
      return EX_NOPERM;
    case Code::kDeadlineExceeded:
    case Code::kUnavailable:
    case Code::kResourceExhausted:
    case Code::kAborted:
      return EX_TEMPFAIL;
    case Code::kFailedPrecondition:
    case Code::kAlreadyExists:
      return EX_CONFIG;
    default:
      return EX_SOFTWARE;
  }
}

void fail(Context& context, const Error& error) {
  std::fprintf(stderr, "hawser: %s\n", error.to_string().c_str());
  context.exit_code = exit_code_of(error);
}

void warn(const std::string& line) {
  std::fprintf(stderr, "hawser: warning: %s\n", line.c_str());
}

std::optional<std::chrono::milliseconds> read_wait(Context& context, const std::string& flag, const std::string& text) {
  auto value = config::parse_duration(text);
  if (value && *value <= kLongestWait) return *value;
  context.exit_code = EX_USAGE;
  warn(flag + ": " + (value ? "'" + text + "' is over 24h" : value.error().to_string()));
  return std::nullopt;
}

bool need_root(Context& context, const std::string& verb) {
  if (geteuid() == 0) return true;
  fail(context, Error(Code::kPermissionDenied, "HWS-CLI-001", "'" + verb + "' changes this host and needs root",
                      "run it with sudo"));
  return false;
}

bool colours(int fd) {
  return isatty(fd) == 1 && std::getenv("NO_COLOR") == nullptr;
}

}  // namespace hawser::cli
