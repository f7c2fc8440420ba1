// SPDX-License-Identifier: Apache-2.0
#include "cli/xds_group.h"

#include <CLI/CLI.hpp>

namespace hawser::cli {

CLI::App& xds_group(CLI::App& app) {
  const auto is_xds = [](const CLI::App* one) { return one->get_name() == "xds"; };
  if (const auto found = app.get_subcommands(is_xds); !found.empty()) return *found.front();
  auto* group = app.add_subcommand("xds", "What the relay holds and does between control plane and proxy");
  group->require_subcommand(1);
  return *group;
}

}  // namespace hawser::cli
