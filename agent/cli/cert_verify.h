// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/command.h"

namespace hawser::cli {

// What: `hawser cert verify`, below `hawser cert`.
void add_cert_verify(CLI::App& cert, Context& context);

}  // namespace hawser::cli
