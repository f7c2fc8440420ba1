// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/command.h"

// What: the verbs of `hawser intercept`, each added to that command.
namespace hawser::cli {

void add_intercept_plan(CLI::App& intercept, Context& context);
void add_intercept_explain(CLI::App& intercept, Context& context);
void add_intercept_import(CLI::App& intercept, Context& context);

}  // namespace hawser::cli
