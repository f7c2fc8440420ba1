// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/intercept.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

// hawserd confirms it, for which it waits as long as the configuration says.
constexpr int kApplyTimeoutMs = 120'000;

void apply(Context& context, bool takeover) {
  admin::v1::Request request;
  request.mutable_intercept_apply()->set_ssh_connection(own_ssh_connection());
  request.mutable_intercept_apply()->set_takeover(takeover);
  auto answer = admin_json(context, request, kApplyTimeoutMs);
  if (!answer) return fail(context, answer.error());
  std::printf("in force and confirmed: sha256:%s\n", answer->value("digest", std::string()).c_str());
}

}  // namespace

void add_intercept_apply(CLI::App& intercept, Context& context) {
  auto takeover = std::make_shared<bool>(false);
  auto* command = intercept.add_subcommand(
      "apply", "Bring in interception as the configuration on disk has it; if it fails, nothing changes");
  command->add_flag("--takeover", *takeover, "Replace the rules of another mesh, without a gap");
  command->callback([&context, takeover] { apply(context, *takeover); });
}

}  // namespace hawser::cli
