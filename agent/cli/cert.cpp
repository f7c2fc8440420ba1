// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/cert_export.h"
#include "cli/command.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

void print(Context& context, const admin::v1::Request& request, bool as_json, int timeout_ms) {
  auto answer = admin_json(context, request, timeout_ms);
  if (!answer) return fail(context, answer.error());
  const auto& cert = *answer;
  if (as_json) {
    std::printf("%s\n", cert.dump(2).c_str());
    return;
  }
  for (const char* key :
       {"spiffe_id", "serial", "issuer", "not_before", "not_after", "next_renewal", "presented_serial"})
    if (cert.contains(key) && cert[key].is_string())
      std::printf("%-17s %s\n", key, cert[key].get<std::string>().c_str());
}

void print_roots(Context& context, bool as_json) {
  admin::v1::Request request;
  request.mutable_cert_show();
  auto answer = admin_json(context, request, 5000);
  if (!answer) return fail(context, answer.error());
  const auto roots = answer->value("roots", nlohmann::json::array());
  if (as_json) {
    std::printf("%s\n", roots.dump(2).c_str());
    return;
  }
  for (const auto& root : roots) {
    const auto text = [&root](const char* key) { return root.value(key, std::string()); };
    std::printf("%s\n  sha256  %s\n  key     %s\n  valid   %s to %s\n", text("subject").c_str(), text("sha256").c_str(),
                text("key").c_str(), text("not_before").c_str(), text("not_after").c_str());
  }
}

}  // namespace

void add_trust(CLI::App& app, Context& context) {
  auto* trust = app.add_subcommand("trust", "Whom this host and its proxy believe");
  trust->require_subcommand(1);
  auto as_json = std::make_shared<bool>(false);
  auto* show = trust->add_subcommand("show", "The roots that peers' certificates must lead to");
  show->add_flag("--json", *as_json, "Print as JSON");
  show->callback([&context, as_json] { print_roots(context, *as_json); });
}

void add_cert(CLI::App& app, Context& context) {
  auto* cert = app.add_subcommand("cert", "The host's certificate");
  cert->require_subcommand(1);
  auto as_json = std::make_shared<bool>(false);
  auto* show = cert->add_subcommand("show", "SPIFFE id, serial, lifetime, next renewal, and what the proxy uses now");
  show->add_flag("--json", *as_json, "Print as JSON");
  show->callback([&context, as_json] {
    admin::v1::Request request;
    request.mutable_cert_show();
    print(context, request, *as_json, 5000);
  });
  auto* renew = cert->add_subcommand("renew", "Ask for a new certificate now; returns when it is in force");
  renew->add_flag("--json", *as_json, "Print as JSON");
  renew->callback([&context, as_json] {
    admin::v1::Request request;
    request.mutable_cert_renew();
    print(context, request, *as_json, 30000);
  });
  add_cert_export(*cert, context);
}

}  // namespace hawser::cli
