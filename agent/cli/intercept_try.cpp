// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include <cstdlib>

#include "cli/admin_call.h"
#include "cli/broker_call.h"
#include "cli/intercept.h"
#include "hawser/admin.pb.h"
#include "hawser/broker.pb.h"

namespace hawser::cli {
namespace {

constexpr int kTryTimeoutMs = 20'000;
constexpr std::chrono::hours kLongest{1};

void try_out(Context& context, const std::string& revert_after, bool takeover) {
  const auto time = read_wait(context, "--revert-after", revert_after);
  if (!time) return;
  if (*time < std::chrono::seconds(1) || *time > kLongest)
    return fail(context, Error(Code::kInvalidArgument, "HWS-BR-013",
                               "--revert-after: '" + revert_after + "' isn't between 1s and 1h",
                               "60s is long enough to look, and short enough to wait"));
  admin::v1::Request request;
  auto* asked = request.mutable_intercept_apply();
  asked->set_revert_seconds(static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::seconds>(*time).count()));
  asked->set_ssh_connection(own_ssh_connection());
  asked->set_takeover(takeover);
  auto answer = admin_json(context, request, kTryTimeoutMs);
  if (!answer) return fail(context, answer.error());
  for (const auto& probe : answer->value("probes", nlohmann::json::array()))
    std::printf("  %-8s %s\n", probe.value("name", std::string()).c_str(),
                probe.value("detail", std::string()).c_str());
  std::printf("in force for %s; `hawser intercept confirm` keeps it, else what was confirmed before comes back\n",
              revert_after.c_str());
}

// With hawserd away, the broker is asked: it's the broker's clock that runs.
Status confirm_by_broker(const Context& context) {
  broker::v1::Request observe;
  observe.mutable_observe();
  broker::v1::Response seen;
  if (auto asked = broker_call(context, observe, seen, 5000); !asked) return asked;
  broker::v1::Request confirm;
  confirm.mutable_confirm()->set_digest(seen.observe().digest());
  return broker_call(context, confirm, seen, 5000);
}

void confirm(Context& context) {
  admin::v1::Request request;
  request.mutable_intercept_confirm();
  auto answer = admin_json(context, request);
  Status done = answer ? Status() : Status(answer.error());
  if (!answer && answer.error().id() == "HWS-RPC-002") done = confirm_by_broker(context);
  if (!done) return fail(context, done.error());
  std::printf("confirmed\n");
}

}  // namespace

std::string own_ssh_connection() {
  const char* connection = std::getenv("SSH_CONNECTION");
  return connection == nullptr ? std::string() : std::string(connection);
}

void add_intercept_try(CLI::App& intercept, Context& context) {
  auto revert_after = std::make_shared<std::string>("60s");
  auto* command = intercept.add_subcommand(
      "try", "As apply, but the broker alone goes back to what was confirmed before, unless `confirm` comes in time");
  command->add_option("--revert-after", *revert_after, "How long it's tried, 1s to 1h")->capture_default_str();
  auto takeover = std::make_shared<bool>(false);
  command->add_flag("--takeover", *takeover, "Replace the rules of another mesh, without a gap");
  command->callback([&context, revert_after, takeover] { try_out(context, *revert_after, *takeover); });
  intercept.add_subcommand("confirm", "Keep what is being tried")->callback([&context] { confirm(context); });
}

}  // namespace hawser::cli
