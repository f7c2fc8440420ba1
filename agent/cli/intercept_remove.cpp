// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/broker_call.h"
#include "cli/intercept.h"
#include "hawser/admin.pb.h"
#include "hawser/broker.pb.h"

namespace hawser::cli {
namespace {

// Else a hawserd that lives would bring the rules back. What it says doesn't matter: it may be what is broken.
bool tell_hawserd(const Context& context) {
  admin::v1::Request request;
  request.mutable_intercept_drain();
  return admin_json(context, request, 20'000).has_value();
}

// `hawser-broker --withdraw` needs nobody: it lies beside us.
Status by_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string program = (self.parent_path() / "hawser-broker").string();
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl(program.c_str(), program.c_str(), "--withdraw", nullptr);
    ::_exit(127);
  }
  int status = 0;
  if (child > 0 && ::waitpid(child, &status, 0) == child && status == 0) return {};
  return Error(Code::kInternal, "HWS-BR-039", program + " --withdraw couldn't take out the rules",
               "it says why; nft list ruleset shows what is left");
}

void remove(Context& context) {
  if (!need_root(context, "intercept remove")) return;
  const bool told = tell_hawserd(context);
  broker::v1::RemoveResponse left;
  auto withdrawn = withdraw_by_broker(context, &left);
  if (!withdrawn && (withdrawn.error().code() == Code::kNotFound || withdrawn.error().code() == Code::kUnavailable)) {
    if (auto done = by_program(); !done) return fail(context, done.error());
    std::printf("rules are gone, without a broker\n");
    return;
  }
  if (!withdrawn) return fail(context, withdrawn.error());
  if (!print_checks(left.checks()))
    return fail(context, Error(Code::kFailedPrecondition, "HWS-BR-039", "something is left after the removal",
                               "systemctl stop hawser-broker, then hawser-broker --withdraw; docs/interception.md"));
  std::printf(told ? "rules and proxies are gone; `hawser intercept apply`, or hawserd's next start, brings both back\n"
                   : "rules and proxies are gone; the host stays joined, and hawserd puts both back when it starts\n");
}

}  // namespace

void add_intercept_remove(CLI::App& intercept, Context& context) {
  intercept
      .add_subcommand("remove",
                      "Take the rules out and stop the proxies, by the broker alone; look that nothing is left")
      ->callback([&context] { remove(context); });
}

}  // namespace hawser::cli
