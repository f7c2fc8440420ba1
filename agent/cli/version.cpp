// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/command.h"

namespace hawser::cli {

void add_version(CLI::App& app, Context&) {
  app.add_subcommand("version", "Print the version")->callback([] { std::printf("hawser %s\n", HAWSER_VERSION); });
}

}  // namespace hawser::cli
