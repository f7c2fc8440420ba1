// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/broker_call.h"
#include "cli/intercept.h"
#include "hawser/broker.pb.h"

namespace hawser::cli {
namespace {

constexpr int kVerifyTimeoutMs = 15'000;

using Checks = google::protobuf::RepeatedPtrField<broker::v1::Check>;

bool print_json(const Checks& checks) {
  bool all = true;
  auto list = nlohmann::json::array();
  for (const auto& check : checks) {
    all = all && check.passed();
    list.push_back({{"name", check.name()}, {"passed", check.passed()}, {"detail", check.detail()}});
  }
  std::printf("%s\n", nlohmann::json{{"passed", all}, {"checks", std::move(list)}}.dump(2).c_str());
  return all;
}

void verify(Context& context, bool as_json) {
  if (!need_root(context, "intercept verify")) return;
  broker::v1::Request request;
  request.mutable_verify();
  broker::v1::Response response;
  if (auto asked = broker_call(context, request, response, kVerifyTimeoutMs); !asked)
    return fail(context, asked.error());
  const auto& checks = response.verify().checks();
  if (!(as_json ? print_json(checks) : print_checks(checks))) context.exit_code = 1;
}

}  // namespace

bool print_checks(const google::protobuf::RepeatedPtrField<broker::v1::Check>& checks) {
  bool all = true;
  for (const auto& check : checks) {
    all = all && check.passed();
    std::printf("  %-4s %-20s %s\n", check.passed() ? "ok" : "FAIL", check.name().c_str(), check.detail().c_str());
  }
  return all;
}

void add_intercept_verify(CLI::App& intercept, Context& context) {
  auto* command = intercept.add_subcommand(
      "verify", "Read the rules back and probe them, now; exit status 1 if anything isn't as it should");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print as JSON");
  command->callback([&context, json] { verify(context, *json); });
}

}  // namespace hawser::cli
