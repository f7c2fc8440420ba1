// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/proxy.h"
#include "cli/proxy_switch.h"

namespace hawser::cli {
namespace {

using proxy::BinaryFolder;
using proxy::BinaryLink;

struct Target {
  std::string sha256;
  const char* what = "";
};

// The last good one, if it isn't what would be left; then what was current before.
Result<Target> choose(const BinaryFolder& store) {
  const std::string current = store.target(BinaryLink::kCurrent);
  for (const auto& [link, what] :
       {std::pair(BinaryLink::kLastGood, "the last good one"), std::pair(BinaryLink::kPrevious, "the one before")}) {
    const std::string found = store.target(link);
    if (found != current && store.has(found) && !store.quarantine(found)) return Target{found, what};
  }
  return Error(Code::kFailedPrecondition, "HWS-CLI-049", "there is no earlier proxy binary to go back to",
               "hawser proxy list; hawser proxy upgrade FILE");
}

void run(Context& context, const HandOverOptions& options) {
  if (!need_root(context, "proxy rollback")) return;
  const auto store = binary_store(context);
  const auto target = choose(store);
  if (!target) return fail(context, target.error());
  if (!options.as_json) {
    const auto record = store.record(target->sha256);
    const auto version = record.is_object() ? record.value("version", nlohmann::json()) : nlohmann::json();
    std::printf("going back to %s%s, %s\n", binaries::short_digest(target->sha256).c_str(),
                version.is_string() ? (" (Envoy " + version.get<std::string>() + ")").c_str() : "", target->what);
  }
  switch_to(context, target->sha256, options);
}

}  // namespace

void add_proxy_rollback(CLI::App& proxy, Context& context) {
  auto options = std::make_shared<HandOverOptions>();
  auto* command =
      proxy.add_subcommand("rollback", "Go back to the last good binary, or to the one before, and restart with it");
  add_hand_over_flags(*command, *options);
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
