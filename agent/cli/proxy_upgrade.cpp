// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "binaries/collect.h"
#include "cli/proxy.h"
#include "cli/proxy_switch.h"

namespace hawser::cli {
namespace {

struct ProxyUpgradeOptions {
  SourceOptions source;
  HandOverOptions hand_over;
};

// Into the store only: what is current stays so until the hand-over.
Result<std::string> install(const Context& context, const ProxyUpgradeOptions& options) {
  const auto store = binary_store(context);
  const auto held = binaries::lock(store);
  if (!held) return held.error();
  const auto say = [quiet = options.hand_over.as_json](const std::string& line) {
    if (!quiet) std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  };
  auto installed = install_binary(context, options.source, say);
  if (!installed) return installed.error();
  return installed->sha256;
}

void run(Context& context, const ProxyUpgradeOptions& options) {
  if (!need_root(context, "proxy upgrade")) return;
  std::string sha256 = binary_store(context).target(proxy::BinaryLink::kCurrent);
  if (!options.source.source.empty()) {
    auto installed = install(context, options);
    if (!installed) return fail(context, installed.error());
    sha256 = *installed;
  }
  switch_to(context, sha256, options.hand_over);
}

}  // namespace

void add_proxy_upgrade(CLI::App& proxy, Context& context) {
  auto options = std::make_shared<ProxyUpgradeOptions>();
  auto* command =
      proxy.add_subcommand("upgrade", "Install an Envoy and replace the running proxy by it, without losing a request");
  command->add_option("SOURCE", options->source.source,
                      "As for install; without it, the store's current binary is used");
  add_source_flags(*command, options->source);
  add_hand_over_flags(*command, options->hand_over);
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
