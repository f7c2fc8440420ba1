// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/xds_group.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

struct XdsDebugOptions {
  std::string type;
  std::string resource;
  std::string timeout = "10s";
  bool as_json = false;
};

// What the plane answered, without what was asked.
void print(const json& answer) {
  for (const auto& resource : answer.value("resources", json::array())) {
    const bool text = resource.is_object() && resource.size() == 1 && resource.contains("text");
    if (text)
      std::printf("%s\n", resource["text"].get<std::string>().c_str());
    else
      std::printf("%s\n", resource.dump(2).c_str());
  }
}

void run(Context& context, const XdsDebugOptions& options) {
  const auto timeout = read_wait(context, "--timeout", options.timeout);
  if (!timeout) return;
  admin::v1::Request request;
  request.mutable_xds_debug()->set_type(options.type);
  request.mutable_xds_debug()->set_resource(options.resource);
  request.mutable_xds_debug()->set_timeout_ms(static_cast<std::uint32_t>(timeout->count()));
  auto answer = admin_json(context, request, static_cast<int>(timeout->count()) + 2000);
  if (!answer) return fail(context, answer.error());
  const auto& parsed = *answer;
  if (options.as_json)
    std::printf("%s\n", parsed.dump(2).c_str());
  else
    print(parsed);
}

}  // namespace

void add_xds_debug(CLI::App& app, Context& context) {
  auto* command = xds_group(app).add_subcommand("debug", "Ask the control plane what it knows (istio.io/debug/TYPE)");
  auto options = std::make_shared<XdsDebugOptions>();
  command->add_option("TYPE", options->type, "syncz, config_dump, edsz, ndsz, …")->required();
  command->add_option("--resource", options->resource, "NAME.NAMESPACE of a proxy, or a query; else this host's own");
  command->add_option("--timeout", options->timeout, "At most 60s")->capture_default_str();
  command->add_flag("--json", options->as_json, "Print question and answer as one JSON document");
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
