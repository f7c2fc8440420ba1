// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/broker_call.h"
#include "cli/intercept.h"
#include "hawser/broker.pb.h"

namespace hawser::cli {
namespace {

constexpr int kTimeoutMs = 15'000;

void verify(Context& context) {
  if (!need_root(context, "intercept verify")) return;
  broker::v1::Request request;
  request.mutable_verify();
  broker::v1::Response response;
  if (auto asked = broker_call(context, request, response, kTimeoutMs); !asked) return fail(context, asked.error());
  if (!print_checks(response.verify().checks())) context.exit_code = 1;
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
  intercept
      .add_subcommand("verify", "Read the rules back and probe them, now; exit status 1 if anything isn't as it should")
      ->callback([&context] { verify(context); });
}

}  // namespace hawser::cli
