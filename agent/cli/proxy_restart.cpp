// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/proxy.h"
#include "cli/proxy_hand_over.h"

namespace hawser::cli {
namespace {

void run(Context& context, const HandOverOptions& options) {
  if (!need_root(context, "proxy restart")) return;
  const auto timeout = read_wait(context, "--timeout", options.timeout);
  if (!timeout) return;
  const auto outcome = hand_over(context, options, *timeout, {});
  if (outcome.open) warn("hawserd goes on with it; hawser status shows the outcome");
  if (!outcome.answer) return fail(context, outcome.answer.error());
  if (auto printed = print_hand_over(options, *outcome.answer); !printed) fail(context, printed.error());
}

}  // namespace

void add_proxy_restart(CLI::App& proxy, Context& context) {
  auto options = std::make_shared<HandOverOptions>();
  auto* command = proxy.add_subcommand(
      "restart", "Replace the running proxy by the store's current binary, without refusing a connection");
  command->add_flag("--json", options->as_json, "Print as JSON");
  command->add_option("--timeout", options->timeout, "How long to wait for the outcome")->capture_default_str();
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
