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
constexpr int kTimeoutMs = 120'000;

void apply(Context& context) {
  admin::v1::Request request;
  request.mutable_intercept_apply()->set_ssh_connection(own_ssh_connection());
  auto answer = admin_json(context, request, kTimeoutMs);
  if (!answer) return fail(context, answer.error());
  std::printf("in force and confirmed: sha256:%s\n", answer->value("digest", std::string()).c_str());
}

}  // namespace

void add_intercept_apply(CLI::App& intercept, Context& context) {
  intercept
      .add_subcommand("apply",
                      "Bring in interception as the configuration on disk has it; if it fails, nothing changes")
      ->callback([&context] { apply(context); });
}

}  // namespace hawser::cli
