// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "binaries/collect.h"
#include "cli/proxy.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

struct ProxyGcOptions {
  std::size_t keep = 0;
  bool as_json = false;
};

void run(Context& context, const ProxyGcOptions& options) {
  if (!need_root(context, "proxy gc")) return;
  const auto store = binary_store(context);
  const auto held = binaries::lock(store);
  if (!held) return fail(context, held.error());
  auto removed = binaries::collect(store, context.state_dir + "/proxy", options.keep);
  if (!removed) return fail(context, removed.error());
  json list = json::array();
  for (const auto& one : *removed) {
    list.push_back({{"sha256", one.sha256}, {"bytes", one.bytes}});
    if (!options.as_json)
      std::printf("removed %s (%llu MB)\n", binaries::short_digest(one.sha256).c_str(),
                  static_cast<unsigned long long>(one.bytes >> 20U));
  }
  const std::size_t left = store.list().size();
  if (options.as_json)
    std::printf("%s\n", json{{"schema_version", 1}, {"removed", list}, {"left", left}}.dump(2).c_str());
  else
    std::printf("%zu left\n", left);
}

}  // namespace

void add_proxy_gc(CLI::App& proxy, Context& context) {
  auto options = std::make_shared<ProxyGcOptions>();
  auto* command = proxy.add_subcommand("gc", "Remove the binaries that nothing needs");
  command->add_option("--keep", options->keep, "Leave so many, with those in use")->capture_default_str();
  command->add_flag("--json", options->as_json, "Print as JSON");
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
