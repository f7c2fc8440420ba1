// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/broker_call.h"
#include "cli/intercept.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

void show(Context& context, bool as_json) {
  admin::v1::Request request;
  request.mutable_intercept_show();
  auto answer = admin_json(context, request);
  if (!answer) return fail(context, answer.error());
  const auto& view = *answer;
  if (as_json) {
    std::printf("%s\n", view.dump(2).c_str());
    return;
  }
  std::printf("interception: %s\n", view.value("state", std::string("unknown")).c_str());
  for (const auto& counter : view.value("counters", json::array()))
    std::printf("  %-20s %10llu packets\n", counter.value("purpose", std::string()).c_str(),
                static_cast<unsigned long long>(counter.value("packets", 0ULL)));
  std::printf("%s", view.value("ruleset", std::string()).c_str());
}

// The broker does it from its stored plan. hawserd isn't told: it may be what is broken.
void remove(Context& context) {
  if (!need_root(context, "intercept remove")) return;
  if (auto withdrawn = withdraw_by_broker(context); !withdrawn) return fail(context, withdrawn.error());
  std::printf("rules and proxies are gone; the host stays joined, and hawserd puts both back when it starts\n");
}

}  // namespace

void add_intercept(CLI::App& app, Context& context) {
  auto* intercept = app.add_subcommand("intercept", "The kernel's redirection of this host's traffic");
  intercept->require_subcommand(1)->fallthrough();
  add_intercept_plan(*intercept, context);
  add_intercept_explain(*intercept, context);
  add_intercept_import(*intercept, context);
  auto as_json = std::make_shared<bool>(false);
  auto* command = intercept->add_subcommand("show", "Rules in force, as the kernel lists them, with counters");
  command->add_flag("--json", *as_json, "Print as JSON");
  command->callback([&context, as_json] { show(context, *as_json); });
  intercept
      ->add_subcommand("remove", "Take the rules out, drain, stop the proxies: by the broker alone; stop hawserd first")
      ->callback([&context] { remove(context); });
}

}  // namespace hawser::cli
