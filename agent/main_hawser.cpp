// SPDX-License-Identifier: Apache-2.0
#include <sysexits.h>

#include <CLI/CLI.hpp>

#include "cli/command.h"

int main(int argc, char** argv) {
  CLI::App app("hawser: moors this host to a service mesh", "hawser");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("hawser ") + HAWSER_VERSION);
  hawser::cli::Context context;
  app.add_option("--config", context.paths.main_file, "Main configuration file")->capture_default_str();
  app.add_option("--config-dir", context.paths.drop_in_dir, "Folder of drop-ins")->capture_default_str();
  app.add_option("--admin-socket", context.admin_socket, "hawserd's socket")->capture_default_str();
  for (const auto add :
       {hawser::cli::add_status, hawser::cli::add_join, hawser::cli::add_leave, hawser::cli::add_drain,
        hawser::cli::add_wait, hawser::cli::add_cert, hawser::cli::add_identity, hawser::cli::add_image,
        hawser::cli::add_intercept, hawser::cli::add_config, hawser::cli::add_events, hawser::cli::add_proxy,
        hawser::cli::add_xds_bootstrap, hawser::cli::add_xds_debug, hawser::cli::add_xds_hold,
        hawser::cli::add_xds_snapshot, hawser::cli::add_xds_status, hawser::cli::add_trust, hawser::cli::add_version})
    add(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EX_OK : EX_USAGE;
  }
  return context.exit_code;
}
