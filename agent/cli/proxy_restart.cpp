// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/admin_call.h"
#include "cli/proxy.h"
#include "cli/proxy_hand_over.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

constexpr int kCallOffMs = 10000;

void call_off(Context& context, const HandOverOptions& options) {
  admin::v1::Request request;
  request.mutable_proxy_restart()->set_hand_over("call-off");
  const auto answer = admin_call(context, request, kCallOffMs);
  if (!answer) return fail(context, answer.error());
  std::printf("%s\n", options.as_json ? answer->c_str() : "called off; the proxy that served goes on");
}

void run(Context& context, const HandOverOptions& options, bool give_up) {
  if (!need_root(context, "proxy restart")) return;
  if (give_up) return call_off(context, options);
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
  auto give_up = std::make_shared<bool>(false);
  auto* command = proxy.add_subcommand("restart", "Replace the running proxy by one of the store's current binary");
  add_hand_over_flags(*command, *options);
  command->add_flag("--call-off", *give_up, "Give up the restart under way, while the old proxy still serves");
  command->callback([&context, options, give_up] { run(context, *options, *give_up); });
}

}  // namespace hawser::cli
