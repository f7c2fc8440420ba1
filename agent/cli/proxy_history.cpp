// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/event_text.h"
#include "cli/proxy.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

struct ProxyHistoryOptions {
  bool as_json = false;
  bool follow = false;
  std::uint64_t since = 0;
};

Status print_new(Context& context, const ProxyHistoryOptions& options, std::uint64_t& known) {
  admin::v1::Request request;
  request.mutable_proxy_history()->set_after(known);
  auto answer = admin_json(context, request);
  if (!answer) return answer.error();
  // The host has left and joined again: the history has begun anew.
  if (options.follow && answer->value("last", known) < known) {
    known = 0;
    return print_new(context, options, known);
  }
  for (const auto& entry : answer->value("entries", json::array())) {
    known = std::max(known, entry.value("id", std::uint64_t{0}));
    std::printf("%s\n", options.as_json ? entry.dump().c_str() : history_line(entry).c_str());
  }
  return {};
}

void run(Context& context, const ProxyHistoryOptions& options) {
  std::uint64_t known = options.since;
  if (options.follow) return follow(context, [&] { return print_new(context, options, known); });
  if (!options.as_json) {
    if (auto printed = print_new(context, options, known); !printed) fail(context, printed.error());
    return;
  }
  admin::v1::Request request;
  request.mutable_proxy_history()->set_after(known);
  auto answer = admin_json(context, request);
  if (!answer) return fail(context, answer.error());
  std::printf("%s\n", answer->dump(2).c_str());
}

}  // namespace

void add_proxy_history(CLI::App& proxy, Context& context) {
  auto* command = proxy.add_subcommand("history", "The last 100 states and gates of the proxy, oldest first");
  auto options = std::make_shared<ProxyHistoryOptions>();
  command->add_flag("--json", options->as_json, "Print as JSON; with --follow a document a line");
  command->add_flag("-f,--follow", options->follow, "Go on with what happens, until interrupted");
  command->add_option("--since", options->since, "Only what is newer than the entry of this id");
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
