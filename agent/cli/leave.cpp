// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "cli/admin_call.h"
#include "cli/broker_call.h"
#include "cli/command.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

// hawserd is away: the broker needs nobody else, and the identity is only files.
Status leave_alone(const Context& context) {
  if (auto withdrawn = withdraw_by_broker(context); !withdrawn) return withdrawn;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(context.state_dir + "/identity", error)) {
    std::error_code failed;
    std::filesystem::remove_all(entry.path(), failed);
    if (failed)
      return Error(Code::kInternal, "HWS-CLI-002", "can't remove " + entry.path().string() + ": " + failed.message());
  }
  return {};
}

void run(Context& context, unsigned drain) {
  if (!need_root(context, "leave")) return;
  const std::string drop_in = context.paths.drop_in_dir + "/50-join.yaml";
  admin::v1::Request request;
  request.mutable_leave()->set_drain_seconds(drain);
  auto answer = admin_call(context, request, static_cast<int>(drain) * 1000 + 60000);
  if (!answer) {
    if (answer.error().id() == "HWS-AD-003" && !file::exists(drop_in)) {
      std::printf("this host is not joined: nothing to leave\n");
      return;
    }
    if (answer.error().id() != "HWS-RPC-002" && answer.error().id() != "HWS-AD-003")
      return fail(context, answer.error());
    if (answer.error().id() == "HWS-RPC-002") {
      warn(
          "hawserd isn't running: leaving with the broker alone; the control plane removes the workload after its "
          "grace time");
      if (auto left = leave_alone(context); !left) return fail(context, left.error());
    }
  }
  if (auto removed = file::remove_durable(drop_in); !removed) return fail(context, removed.error());
  std::printf("left the mesh: rules, proxy and identity are gone\n");
}

}  // namespace

void add_leave(CLI::App& app, Context& context) {
  auto* command =
      app.add_subcommand("leave", "Leave the mesh: withdraw, drain, stop the proxy, remove rules and identity");
  auto drain = std::make_shared<unsigned>(5);
  command->add_option("--drain", *drain, "Seconds that open connections get to end")
      ->check(CLI::Range(0, 600))
      ->capture_default_str();
  command->callback([&context, drain] { run(context, *drain); });
}

}  // namespace hawser::cli
