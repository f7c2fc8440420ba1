// SPDX-License-Identifier: Apache-2.0
#include <sysexits.h>
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/file.h"
#include "cli/command.h"

namespace hawser::cli {
namespace {

void check(Context& context, const std::string& file) {
  config::Loaded loaded;
  if (file.empty()) {
    loaded = config::load(context.paths);
  } else {
    auto text = file::read_bounded(file, 1U << 20U);
    if (!text) return fail(context, Error(text.error().code(), "HWS-CF-001", text.error().message(), "check the path"));
    loaded = config::parse(*text, file);
  }
  for (const auto& error : loaded.errors) std::fprintf(stderr, "hawser: %s\n", error.to_string().c_str());
  if (!loaded.errors.empty()) {
    context.exit_code = EX_CONFIG;
    return;
  }
  std::printf("configuration is valid (%zu files): %s\n", loaded.files.size(),
              loaded.config.joined()
                  ? ("joins " + loaded.config.control_plane.address.text() + " as " + loaded.config.spiffe_id()).c_str()
                  : "not joined");
}

}  // namespace

void add_config(CLI::App& app, Context& context) {
  auto* config = app.add_subcommand("config", "The configuration");
  config->require_subcommand(1);
  auto* command = config->add_subcommand("check", "Check the configuration; works without any daemon");
  auto file = std::make_shared<std::string>();
  command->add_option("--file", *file, "Check this file alone");
  command->callback([&context, file] { check(context, *file); });
}

}  // namespace hawser::cli
