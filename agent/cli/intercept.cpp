// SPDX-License-Identifier: Apache-2.0
#include "cli/intercept.h"

#include <CLI/CLI.hpp>

namespace hawser::cli {

void add_intercept(CLI::App& app, Context& context) {
  auto* intercept = app.add_subcommand("intercept", "The kernel's redirection of this host's traffic");
  intercept->require_subcommand(1)->fallthrough();
  for (const auto add :
       {add_intercept_plan, add_intercept_explain, add_intercept_import, add_intercept_apply, add_intercept_try,
        add_intercept_status, add_intercept_verify, add_intercept_drain, add_intercept_remove})
    add(*intercept, context);
}

}  // namespace hawser::cli
