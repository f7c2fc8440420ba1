// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace CLI {
class App;
}

// What: the verbs of `hawser proxy` that have a file of their own. Failure: as in command.h.
namespace hawser::cli {

struct Context;
void add_proxy_status(CLI::App& proxy, Context& context);
void add_proxy_history(CLI::App& proxy, Context& context);
void add_proxy_connections(CLI::App& proxy, Context& context);
void add_proxy_config_dump(CLI::App& proxy, Context& context);
void add_proxy_logs(CLI::App& proxy, Context& context);

}  // namespace hawser::cli
