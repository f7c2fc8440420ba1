// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/proxy.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

struct ProxyConfigDumpOptions {
  std::string generation;
  std::string resource;
  std::string mask;
  std::string name_regex;
  bool endpoints = false;
};

// In parts, since a dump may be larger than a message of admin.sock; nothing is printed before the last one is there.
void run(Context& context, const ProxyConfigDumpOptions& options) {
  admin::v1::Request request;
  auto& ask = *request.mutable_proxy_ask();
  ask.set_what("config_dump");
  ask.set_generation(options.generation);
  ask.set_resource(options.resource);
  ask.set_mask(options.mask);
  ask.set_name_regex(options.name_regex);
  ask.set_endpoints(options.endpoints);
  std::string dump;
  while (true) {
    auto answer = admin_json(context, request);
    if (!answer) return fail(context, answer.error());
    const std::string part = answer->value("part", "");
    dump += part;
    const auto size = answer->value("size", std::uint64_t{0});
    if (dump.size() >= size) break;
    if (part.empty())
      return fail(context, Error(Code::kInternal, "HWS-RPC-001", "hawserd's answer can't be read",
                                 "use the same version of hawser and hawserd"));
    ask.set_token(answer->value("token", ""));
    ask.set_offset(dump.size());
  }
  std::fwrite(dump.data(), 1, dump.size(), stdout);
  if (!dump.ends_with('\n')) std::printf("\n");
}

}  // namespace

void add_proxy_config_dump(CLI::App& proxy, Context& context) {
  auto* command =
      proxy.add_subcommand("config-dump", "The configuration that the proxy has, as it tells it; secrets are redacted");
  auto options = std::make_shared<ProxyConfigDumpOptions>();
  command->add_option("--generation", options->generation, "Of this one instead of the one that serves");
  command->add_option("--resource", options->resource,
                      "Only this list: static_clusters, dynamic_active_clusters, dynamic_listeners, "
                      "dynamic_route_configs, dynamic_active_secrets, …");
  command->add_option("--mask", options->mask, "Only these fields, by Envoy's field mask");
  command->add_option("--name-regex", options->name_regex, "Only resources with such names");
  command->add_flag("--endpoints", options->endpoints, "Endpoints, too");
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
