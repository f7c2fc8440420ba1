// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

struct WaitOptions {
  std::string event = "REGISTERED";
  std::string timeout = "60s";
};

void run(Context& context, const WaitOptions& options) {
  const auto timeout = read_wait(context, "--timeout", options.timeout);
  if (!timeout) return;
  admin::v1::Request request;
  request.mutable_wait()->set_event(options.event);
  request.mutable_wait()->set_timeout_ms(static_cast<std::uint32_t>(timeout->count()));
  auto answer = admin_call(context, request, static_cast<int>(timeout->count()) + 2000);
  if (!answer) return fail(context, answer.error());
  std::printf("%s\n", options.event.c_str());
}

}  // namespace

void add_wait(CLI::App& app, Context& context) {
  auto* command =
      app.add_subcommand("wait", "Wait until the host has reached a start-up event; exit code 75 on time-out");
  auto options = std::make_shared<WaitOptions>();
  command->add_option("--for", options->event, "CONFIGURED … REGISTERED")->capture_default_str();
  command->add_option("--timeout", options->timeout, "e.g. 60s")->capture_default_str();
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
