// SPDX-License-Identifier: Apache-2.0
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/xds_group.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

struct XdsHoldOptions {
  std::string generation;
  std::string time;
  std::string reason;
  bool first_lds = false;
};

void hold(Context& context, const XdsHoldOptions& options) {
  const auto time = read_wait(context, "--for", options.time);
  if (!time) return;
  if (*time < std::chrono::seconds(1)) {
    context.exit_code = EX_USAGE;
    return warn("--for: at least 1s");
  }
  admin::v1::Request request;
  request.mutable_xds_hold()->set_generation(options.generation);
  request.mutable_xds_hold()->set_listeners(options.first_lds);
  request.mutable_xds_hold()->set_seconds(static_cast<std::uint32_t>(time->count() / 1000));
  request.mutable_xds_hold()->set_reason(options.reason);
  auto answer = admin_call(context, request);
  if (!answer) return fail(context, answer.error());
  const auto parsed = nlohmann::json::parse(*answer, nullptr, false);
  const std::size_t streams = parsed.is_object() ? parsed.value("streams", std::size_t{0}) : 0;
  std::printf("%s gets no %s for %s%s\n", options.generation.c_str(), options.first_lds ? "listeners" : "updates",
              options.time.c_str(), streams == 0 ? "; it has no stream now, so from when it comes" : "");
}

void release(Context& context, const std::string& generation) {
  admin::v1::Request request;
  request.mutable_xds_release()->set_generation(generation);
  auto answer = admin_call(context, request);
  if (!answer) return fail(context, answer.error());
  std::printf("%s gets everything\n", generation.c_str());
}

}  // namespace

void add_xds_hold(CLI::App& app, Context& context) {
  auto options = std::make_shared<XdsHoldOptions>();
  auto* command =
      xds_group(app).add_subcommand("hold", "Withhold updates from a generation of the proxy for a limited time");
  command->add_option("GENERATION", options->generation, "such as f1e0")->required();
  command->add_option("--for", options->time, "e.g. 30s, at most 1h; then it's released by itself")->required();
  command->add_option("--reason", options->reason, "Shown in 'hawser status' and logged")->required();
  command->add_flag("--first-lds", options->first_lds, "Only listeners: a new generation isn't LIVE without them");
  command->callback([&context, options] { hold(context, *options); });
  auto generation = std::make_shared<std::string>();
  auto* end = xds_group(app).add_subcommand("release", "Give a generation what was withheld from it");
  end->add_option("GENERATION", *generation, "such as f1e0")->required();
  end->callback([&context, generation] { release(context, *generation); });
}

}  // namespace hawser::cli
