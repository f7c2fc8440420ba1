// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/load.h"

namespace CLI {
class App;
}

// What: the verbs of `hawser`; one file a verb. Each registers a subcommand with its flags and runs when chosen.
// Failure: exit codes of sysexits.h: 0 fine, 1 unhealthy, 2 degraded, 64 usage, 66 input missing, 69 agent not
// reachable, 70 internal, 75 temporary, 77 permission, 78 configuration.
namespace hawser::cli {

struct Context {
  config::Paths paths;
  std::string admin_socket = "/run/hawser/admin.sock";
  std::string broker_socket = "/run/hawser/broker.sock";
  std::string state_dir = "/var/lib/hawser";
  int exit_code = 0;
};

using Register = void (*)(CLI::App& app, Context& context);
void add_status(CLI::App& app, Context& context);
void add_join(CLI::App& app, Context& context);
void add_drain(CLI::App& app, Context& context);
void add_leave(CLI::App& app, Context& context);
void add_wait(CLI::App& app, Context& context);
void add_cert(CLI::App& app, Context& context);
void add_identity(CLI::App& app, Context& context);
void add_image(CLI::App& app, Context& context);
void add_intercept(CLI::App& app, Context& context);
void add_events(CLI::App& app, Context& context);
void add_config(CLI::App& app, Context& context);
void add_proxy(CLI::App& app, Context& context);
void add_xds_bootstrap(CLI::App& app, Context& context);
void add_xds_debug(CLI::App& app, Context& context);
void add_xds_hold(CLI::App& app, Context& context);
void add_xds_status(CLI::App& app, Context& context);
void add_xds_snapshot(CLI::App& app, Context& context);
void add_trust(CLI::App& app, Context& context);
void add_version(CLI::App& app, Context& context);

// Prints the one line of an error to stderr and sets the exit code that fits.
void fail(Context& context, const Error& error);
void warn(const std::string& line);
int exit_code_of(const Error& error);
// The value of a flag that says how long to wait, at most a day. Nullopt: it was told on stderr, with the exit code.
std::optional<std::chrono::milliseconds> read_wait(Context& context, const std::string& flag, const std::string& text);
// For verbs that change the host.
bool need_root(Context& context, const std::string& verb);
bool colours(int fd);

}  // namespace hawser::cli
