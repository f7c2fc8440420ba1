// SPDX-License-Identifier: Apache-2.0
#include "cli/xds_group.h"

#include <CLI/CLI.hpp>

namespace hawser::cli {

CLI::App& xds_group(CLI::App& app) {
  if (auto* group = app.get_subcommand_no_throw("xds")) return *group;
  auto* group = app.add_subcommand("xds", "What the relay holds and does between control plane and proxy");
  group->require_subcommand(1);
  return *group;
}

}  // namespace hawser::cli
