// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/broker_call.h"
#include "cli/intercept.h"
#include "hawser/admin.pb.h"
#include "hawser/broker.pb.h"

namespace hawser::cli {
namespace {

constexpr std::chrono::seconds kMore{20};  // than the drain itself takes

Status by_broker(const Context& context, std::chrono::milliseconds time) {
  broker::v1::Request request;
  request.mutable_remove()->set_drain_ms(static_cast<std::uint32_t>(std::max<std::int64_t>(time.count(), 1)));
  broker::v1::Response response;
  return broker_call(context, request, response, static_cast<int>((time + kMore) / std::chrono::milliseconds(1)));
}

void drain(Context& context, const std::string& text) {
  const auto time = read_wait(context, "--time", text);
  if (!time) return;
  admin::v1::Request request;
  request.mutable_intercept_drain()->set_seconds(
      static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::seconds>(*time).count()));
  auto answer = admin_json(context, request, static_cast<int>((*time + kMore) / std::chrono::milliseconds(1)));
  Status done = answer ? Status() : Status(answer.error());
  if (!answer && answer.error().id() == "HWS-RPC-002") done = by_broker(context, *time);
  if (!done) return fail(context, done.error());
  std::printf("nothing is intercepted any more; `hawser intercept apply`, or hawserd's next start, brings it back\n");
}

}  // namespace

void add_intercept_drain(CLI::App& intercept, Context& context) {
  auto time = std::make_shared<std::string>("60s");
  auto* command = intercept.add_subcommand(
      "drain", "Let new connections go direct at once, and those through the proxy live on until they end");
  command->add_option("--time", *time, "The longest that they may")->capture_default_str();
  command->callback([&context, time] { drain(context, *time); });
}

}  // namespace hawser::cli
