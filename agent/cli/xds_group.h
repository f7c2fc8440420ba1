// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace CLI {
class App;
}

namespace hawser::cli {

// What: the subcommand `hawser xds`, under which several files put their verbs; made at the first call.
CLI::App& xds_group(CLI::App& app);

}  // namespace hawser::cli
