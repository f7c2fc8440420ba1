// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/command.h"

namespace hawser::cli {

// What: `hawser cert verify`, below `hawser cert`.
// The roots that hawserd trusts, as it left them on disk. Failure: HWS-CLI-023, HWS-TR-003.
Result<std::string> trusted_roots(const Context& context);

void add_cert_verify(CLI::App& cert, Context& context);

}  // namespace hawser::cli
