// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/command.h"

namespace hawser::cli {

// A subcommand of `hawser cert`.
void add_cert_export(CLI::App& cert, Context& context);

}  // namespace hawser::cli
