// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "binaries/collect.h"
#include "cli/proxy.h"

namespace hawser::cli {
namespace {

void run(Context& context, const std::string& digest) {
  if (!need_root(context, "proxy allow")) return;
  const auto store = binary_store(context);
  const auto held = binaries::lock(store);
  if (!held) return fail(context, held.error());
  auto found = binaries::find(store, digest);
  if (!found) return fail(context, found.error());
  const std::string name = binaries::short_digest(*found);
  const auto why = store.quarantine(*found);
  if (auto lifted = store.lift_quarantine(*found); !lifted) return fail(context, lifted.error());
  if (!store.has(*found)) {
    // Its quarantine was all that was left of it.
    std::error_code ignored;
    std::filesystem::remove_all(store.folder_of(*found), ignored);
  }
  std::printf("%s %s\n", name.c_str(),
              why ? ("may be started again; it was quarantined: " + why->reason).c_str() : "isn't quarantined");
}

}  // namespace

void add_proxy_allow(CLI::App& proxy, Context& context) {
  auto digest = std::make_shared<std::string>();
  auto* command = proxy.add_subcommand("allow", "Lift the quarantine of a binary");
  command->add_option("DIGEST", *digest, "Its SHA-256, or the beginning of it")->required();
  command->callback([&context, digest] { run(context, *digest); });
}

}  // namespace hawser::cli
